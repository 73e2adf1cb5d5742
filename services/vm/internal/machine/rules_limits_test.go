package machine

import (
	"slices"
	"strings"
	"testing"

	"slipway.dev/pkg/fault"
)

// TestLimitsAtTheirBounds: the least and the most of each figure are accepted, what lies beyond is refused on its field, and 0
// is no limit.
func TestLimitsAtTheirBounds(t *testing.T) {
	t.Parallel()
	all := (&Limits{}).figures()
	for _, field := range Figures() {
		f := all[field]
		for n, refused := range map[int32]bool{0: false, f.least: false, f.most: false, -1: true, f.least - 1: f.least > 1, f.most + 1: true} {
			var l Limits
			l.Set(field, n)
			wantRefused(t, field, l.Check(), map[bool]string{true: field}[refused])
		}
	}
}

// wantRefused demands a refusal on a field; "" is none.
func wantRefused(t *testing.T, what string, err error, field string) {
	t.Helper()
	f, ok := fault.From(err)
	if field == "" && err != nil || field != "" && (!ok || f.Field != field) {
		t.Errorf("%s: %v, want a refusal on %q", what, err, field)
	}
}

func TestModesOfCPUs(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ mode, model, field string }{
		{"", "", ""},
		{"default", "", ""},
		{"host-model", "", ""},
		{"host-passthrough", "", ""},
		{"custom", "Skylake-Server_v2.1", ""},
		{"custom", "", "cpu_custom_model"},
		{"custom", "a b", "cpu_custom_model"},
		{"custom", strings.Repeat("a", 65), "cpu_custom_model"},
		{"", "Skylake", "cpu_custom_model"},
		{"host-model", "Skylake", "cpu_custom_model"},
		{"fast", "", "cpu_mode"},
	} {
		l := Limits{CPUMode: tt.mode, CPUModel: tt.model}
		wantRefused(t, tt.mode+" "+tt.model, l.Check(), tt.field)
	}
}

// TestRulesOfFirewalls: which rules are kept, and at which field the others are refused.
func TestRulesOfFirewalls(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		rule  Rule
		field string
	}{
		"all in":               {Rule{Action: "accept", Direction: "in"}, ""},
		"all out":              {Rule{Action: "DROP", Direction: "OUT"}, ""},
		"first port":           {Rule{Action: "drop", Direction: "in", Protocols: []string{"tcp"}, PortStart: 1}, ""},
		"last port":            {Rule{Action: "drop", Direction: "in", Protocols: []string{"udp"}, PortStart: 65535}, ""},
		"all ports":            {Rule{Action: "drop", Direction: "in", Protocols: []string{"tcp", "udp"}, PortStart: 1, PortEnd: 65535}, ""},
		"one port":             {Rule{Action: "drop", Direction: "in", Protocols: []string{"tcp"}, PortStart: 22, PortEnd: 22}, ""},
		"no action":            {Rule{Direction: "in"}, "r.action"},
		"no direction":         {Rule{Action: "drop"}, "r.direction"},
		"sideways":             {Rule{Action: "drop", Direction: "by"}, "r.direction"},
		"unknown protocol":     {Rule{Action: "drop", Direction: "in", Protocols: []string{"tcp", "x"}}, "r.protocols"},
		"below the first port": {Rule{Action: "drop", Direction: "in", Protocols: []string{"tcp"}, PortStart: -1}, "r.portstart"},
		"beyond the last port": {Rule{Action: "drop", Direction: "in", Protocols: []string{"tcp"}, PortStart: 65536}, "r.portstart"},
		"an end alone":         {Rule{Action: "drop", Direction: "in", Protocols: []string{"tcp"}, PortEnd: 22}, "r.portstart"},
		"backwards":            {Rule{Action: "drop", Direction: "in", Protocols: []string{"tcp"}, PortStart: 23, PortEnd: 22}, "r.portend"},
		"an end beyond":        {Rule{Action: "drop", Direction: "in", Protocols: []string{"tcp"}, PortStart: 23, PortEnd: 65536}, "r.portend"},
		"a port of all":        {Rule{Action: "drop", Direction: "in", PortStart: 22}, "r.protocols"},
		"a port of any":        {Rule{Action: "drop", Direction: "in", Protocols: []string{"any", "tcp"}, PortStart: 22}, "r.protocols"},
		"a port of icmp":       {Rule{Action: "drop", Direction: "in", Protocols: []string{"icmp", "tcp"}, PortStart: 22}, "r.protocols"},
	} {
		wantRefused(t, name, tt.rule.check("r"), tt.field)
	}
	r := Rule{Action: "Drop", Direction: "In", Protocols: []string{"UDP", "tcp", "udp"}, PortStart: 22}
	if err := r.check("r"); err != nil || r.Action != "drop" || r.Direction != "in" || r.PortEnd != 22 || !slices.Equal(r.Protocols, []string{"tcp", "udp"}) {
		t.Errorf("%+v %v", r, err)
	}
	most := Limits{Firewall: slices.Repeat([]Rule{{Action: "drop", Direction: "in"}}, 64)}
	wantRefused(t, "64 rules", most.Check(), "")
	most.Firewall[63].Action = "x"
	wantRefused(t, "the last rule", most.Check(), "firewall_rules[63].action")
	most.Firewall = append(most.Firewall, Rule{Action: "drop", Direction: "in"})
	wantRefused(t, "65 rules", most.Check(), "firewall_rules")
}

// TestNeeds: each limit that is asked for needs one thing of the node and names the field; without limits nothing is needed.
func TestNeeds(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		l    Limits
		want []Need
	}{
		{Limits{}, nil},
		{Limits{CPUMode: "default"}, nil},
		{Limits{HotPlug: true}, []Need{{"growth", "hot_plug"}}},
		{Limits{LiveResize: true}, []Need{{"growth", "live_resize"}}},
		{Limits{Nesting: true}, []Need{{"nesting", "nesting"}}},
		{Limits{CPUMode: "host-model"}, []Need{{"cpu_mode:host-model", "cpu_mode"}}},
		{Limits{CPUMode: "custom", CPUModel: "a"}, []Need{{"cpu_mode:custom", "cpu_mode"}, {"cpu_model:a", "cpu_custom_model"}}},
		{Limits{CPUWeight: 1}, []Need{{"cpu_weight", "cpu_weight"}}},
		{Limits{IOWeight: 1}, []Need{{"io_weight", "io_weight"}}},
		{Limits{IOReadMbit: 1}, []Need{{"disk_limits", "io_read_mbitps"}}},
		{Limits{IOWriteMbit: 1}, []Need{{"disk_limits", "io_write_mbitps"}}},
		{Limits{IOReadIOPS: 1}, []Need{{"disk_limits", "io_read_iops"}}},
		{Limits{IOWriteIOPS: 1}, []Need{{"disk_limits", "io_write_iops"}}},
		{Limits{NetMbit: 1}, []Need{{"bandwidth", "net_bandwidth_mbitps"}}},
		{Limits{NetInMbit: 1}, []Need{{"bandwidth", "net_in_mbitps"}}},
		{Limits{NetOutMbit: 1}, []Need{{"bandwidth", "net_out_mbitps"}}},
		{Limits{Firewall: []Rule{{}}}, []Need{{"firewall", "firewall_rules"}}},
	} {
		if got := tt.l.Needs(); !slices.Equal(got, tt.want) {
			t.Errorf("%+v needs %v, want %v", tt.l, got, tt.want)
		}
	}
}

// TestLoosened: a limit that is raised or taken away, and a weight that is changed at all, are for administrators.
func TestLoosened(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		before, now Limits
		want        string
	}{
		{Limits{}, Limits{}, ""},
		{Limits{NetMbit: 10}, Limits{NetMbit: 10}, ""},
		{Limits{NetMbit: 10}, Limits{NetMbit: 9}, ""},
		{Limits{NetMbit: 10}, Limits{NetMbit: 11}, "net_bandwidth_mbitps"},
		{Limits{NetMbit: 10}, Limits{}, "net_bandwidth_mbitps"},
		{Limits{}, Limits{NetMbit: 10}, ""},
		{Limits{}, Limits{CPUWeight: 10}, "cpu_weight"},
		{Limits{CPUWeight: 10}, Limits{CPUWeight: 9}, "cpu_weight"},
		{Limits{IOWeight: 10}, Limits{IOWeight: 10}, ""},
	} {
		if got := tt.now.Loosened(tt.before); got != tt.want {
			t.Errorf("%+v after %+v: %q, want %q", tt.now, tt.before, got, tt.want)
		}
	}
	for _, tt := range [][3]int32{{0, 0, 0}, {0, 5, 5}, {5, 0, 5}, {4, 5, 4}, {5, 4, 4}} {
		if got := smallest(tt[0], tt[1]); got != tt[2] {
			t.Errorf("the smaller limit of %d and %d: %d", tt[0], tt[1], got)
		}
	}
}
