package machine

import (
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"slipway.dev/pkg/fault"
)

// Limits are what a host gets besides CPUs and RAM. They are stored as JSON; what is not limited is 0 or absent.
type Limits struct {
	CPUMode     string `json:"cpu_mode,omitempty"`
	CPUModel    string `json:"cpu_custom_model,omitempty"`
	Nesting     bool   `json:"nesting,omitempty"`
	HotPlug     bool   `json:"hot_plug,omitempty"`
	LiveResize  bool   `json:"live_resize,omitempty"`
	CPUWeight   int32  `json:"cpu_weight,omitempty"`
	IOWeight    int32  `json:"io_weight,omitempty"`
	IOReadMbit  int32  `json:"io_read_mbitps,omitempty"`
	IOWriteMbit int32  `json:"io_write_mbitps,omitempty"`
	IOReadIOPS  int32  `json:"io_read_iops,omitempty"`
	IOWriteIOPS int32  `json:"io_write_iops,omitempty"`
	NetMbit     int32  `json:"net_bandwidth_mbitps,omitempty"`
	NetInMbit   int32  `json:"net_in_mbitps,omitempty"`
	NetOutMbit  int32  `json:"net_out_mbitps,omitempty"`
	Firewall    []Rule `json:"firewall_rules,omitempty"`
}

// Rule is a rule of a host's firewall.
type Rule struct {
	Action    string   `json:"action"`
	Direction string   `json:"direction"`
	Protocols []string `json:"protocols,omitempty"` // none: all
	PortStart int32    `json:"portstart,omitempty"`
	PortEnd   int32    `json:"portend,omitempty"`
}

// Modes of CPUs. The default is the most that a node can give.
const (
	CPUDefault = "default"
	cpuCustom  = "custom"
)

// Words of rules.
const (
	accept    = "accept"
	drop      = "drop"
	inward    = "in"
	outward   = "out"
	anything  = "any"
	tcp       = "tcp"
	udp       = "udp"
	icmp      = "icmp"
	maxPort   = 65535
	maxRules  = 64
	maxMbit   = 100_000
	maxIOPS   = 1_000_000
	maxWeight = 10_000
)

var cpuModel = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$`)

// None reports whether nothing is limited or asked for.
func (l Limits) None() bool { return reflect.ValueOf(l).IsZero() }

// Growing reports whether CPUs and memory can be added while the guest runs.
func (l Limits) Growing() bool { return l.HotPlug || l.LiveResize }

// Mode returns the mode of the CPUs.
func (l Limits) Mode() string {
	if l.CPUMode == "" {
		return CPUDefault
	}
	return l.CPUMode
}

// figures are the numbers of limits by their fields, with the least and the most that they may be when they are not 0.
func (l *Limits) figures() map[string]figure {
	return map[string]figure{
		"cpu_weight": {&l.CPUWeight, 1, maxWeight, true}, "io_weight": {&l.IOWeight, 10, 1000, true},
		"io_read_mbitps": {&l.IOReadMbit, 1, maxMbit, false}, "io_write_mbitps": {&l.IOWriteMbit, 1, maxMbit, false},
		"io_read_iops": {&l.IOReadIOPS, 1, maxIOPS, false}, "io_write_iops": {&l.IOWriteIOPS, 1, maxIOPS, false},
		"net_bandwidth_mbitps": {&l.NetMbit, 1, maxMbit, false}, "net_in_mbitps": {&l.NetInMbit, 1, maxMbit, false},
		"net_out_mbitps": {&l.NetOutMbit, 1, maxMbit, false},
	}
}

type figure struct {
	n           *int32
	least, most int32
	weight      bool
}

// Figures returns the fields of limits that are numbers, in order.
func Figures() []string { return slices.Sorted(maps.Keys((&Limits{}).figures())) }

// Set sets the number of a field. The field is one of the program, never text of a request.
func (l *Limits) Set(field string, n int32) {
	if f, known := l.figures()[field]; known {
		*f.n = n
	}
}

// Check refuses what no node can do, and gives the rules one spelling.
func (l *Limits) Check() error {
	all := l.figures()
	for _, field := range slices.Sorted(maps.Keys(all)) {
		if f := all[field]; *f.n != 0 && (*f.n < f.least || *f.n > f.most) {
			return fault.Invalid.With("%d is not between %d and %d, and not 0", *f.n, f.least, f.most).On(field)
		}
	}
	switch l.CPUMode {
	case "", CPUDefault, "host-model", "host-passthrough":
		if l.CPUModel != "" {
			return fault.Invalid.With("a model needs the cpu_mode %q", cpuCustom).On("cpu_custom_model")
		}
	case cpuCustom:
		if !cpuModel.MatchString(l.CPUModel) {
			return fault.Invalid.With("required with the cpu_mode %q: a model of CPUs", cpuCustom).On("cpu_custom_model")
		}
	default:
		return fault.Invalid.With("%q is none of default, host-model, host-passthrough, custom", fault.Clip(l.CPUMode)).On("cpu_mode")
	}
	if len(l.Firewall) > maxRules {
		return fault.Invalid.With("at most %d rules", maxRules).On("firewall_rules")
	}
	for i := range l.Firewall {
		if err := l.Firewall[i].check(fmt.Sprintf("firewall_rules[%d]", i)); err != nil {
			return err
		}
	}
	return nil
}

// check refuses a rule that cannot be kept, and spells it as rules are stored.
func (r *Rule) check(at string) error {
	r.Action, r.Direction = strings.ToLower(r.Action), strings.ToLower(r.Direction)
	if r.Action != accept && r.Action != drop {
		return fault.Invalid.With("%q is neither accept nor drop", fault.Clip(r.Action)).On(at + ".action")
	}
	if r.Direction != inward && r.Direction != outward {
		return fault.Invalid.With("%q is neither in nor out", fault.Clip(r.Direction)).On(at + ".direction")
	}
	list := make([]string, len(r.Protocols))
	for i, p := range r.Protocols {
		if list[i] = strings.ToLower(p); !slices.Contains([]string{tcp, udp, icmp, anything}, list[i]) {
			return fault.Invalid.With("%q is none of tcp, udp, icmp, any", fault.Clip(p)).On(at + ".protocols")
		}
	}
	slices.Sort(list)
	if r.Protocols = slices.Compact(list); slices.Contains(list, anything) {
		r.Protocols = nil
	}
	if r.PortEnd == 0 {
		r.PortEnd = r.PortStart
	}
	switch {
	case r.PortStart < 0 || r.PortStart > maxPort || r.PortStart == 0 && r.PortEnd > 0:
		return fault.Invalid.With("%d is not between 1 and %d", r.PortStart, maxPort).On(at + ".portstart")
	case r.PortEnd < r.PortStart || r.PortEnd > maxPort:
		return fault.Invalid.With("%d is not between %d and %d", r.PortEnd, r.PortStart, maxPort).On(at + ".portend")
	case r.PortStart > 0 && (len(r.Protocols) == 0 || slices.Contains(r.Protocols, icmp)):
		return fault.Invalid.With("ports need the protocols tcp, udp or both").On(at + ".protocols")
	}
	return nil
}

// Need is something that a node must be able to do, and the field that asks for it.
type Need struct{ Feature, Field string }

// Needs returns what a node must be able to do for the limits.
func (l Limits) Needs() (list []Need) {
	add := func(asked bool, feature, field string) {
		if asked {
			list = append(list, Need{feature, field})
		}
	}
	add(l.HotPlug, "growth", "hot_plug")
	add(l.LiveResize, "growth", "live_resize")
	add(l.Nesting, "nesting", "nesting")
	add(l.Mode() != CPUDefault, "cpu_mode:"+l.CPUMode, "cpu_mode")
	add(l.CPUModel != "", "cpu_model:"+l.CPUModel, "cpu_custom_model")
	add(l.CPUWeight > 0, "cpu_weight", "cpu_weight")
	add(l.IOWeight > 0, "io_weight", "io_weight")
	add(l.IOReadMbit > 0, "disk_limits", "io_read_mbitps")
	add(l.IOWriteMbit > 0, "disk_limits", "io_write_mbitps")
	add(l.IOReadIOPS > 0, "disk_limits", "io_read_iops")
	add(l.IOWriteIOPS > 0, "disk_limits", "io_write_iops")
	add(l.NetMbit > 0, "bandwidth", "net_bandwidth_mbitps")
	add(l.NetInMbit > 0, "bandwidth", "net_in_mbitps")
	add(l.NetOutMbit > 0, "bandwidth", "net_out_mbitps")
	add(len(l.Firewall) > 0, "firewall", "firewall_rules")
	return list
}

// Loosened returns the first field by which a host would get more than before: limits are raised and weights are changed by
// administrators alone. It returns "" for none.
func (l Limits) Loosened(before Limits) string {
	now, was := l.figures(), before.figures()
	for _, field := range slices.Sorted(maps.Keys(now)) {
		n, old := *now[field].n, *was[field].n
		if n != old && (now[field].weight || old != 0 && (n == 0 || n > old)) {
			return field
		}
	}
	return ""
}

// smallest returns the smaller limit of two, of which 0 is none.
func smallest(a, b int32) int32 {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}
