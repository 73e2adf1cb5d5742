// Package resource changes what hosts get of their nodes: CPUs, RAM, limits, the rules of their firewalls.
package resource

import (
	"slices"

	"slipway.dev/pkg/fault"
	"slipway.dev/services/vm/internal/host"
	"slipway.dev/services/vm/internal/machine"
)

// hostStop is when a change may wait for the host's next stop.
const hostStop = "host_stop"

// Change is what a request changes; nil and 0 change nothing. It is a part of a job's argument.
type Change struct {
	CPUs       int32            `json:"cpus,omitempty"`
	RAM        int32            `json:"ram,omitempty"`
	Figures    map[string]int32 `json:"figures,omitempty"` // limits by their fields
	CPUMode    *string          `json:"cpu_mode,omitempty"`
	CPUModel   *string          `json:"cpu_model,omitempty"`
	Nesting    *bool            `json:"nesting,omitempty"`
	HotPlug    *bool            `json:"hot_plug,omitempty"`
	LiveResize *bool            `json:"live_resize,omitempty"`
	Firewall   *[]machine.Rule  `json:"firewall,omitempty"`
	Deferred   bool             `json:"deferred,omitempty"`
}

// size returns the size that the change asks for.
func (c *Change) size() machine.Size { return machine.Size{CPUs: c.CPUs, RAM: c.RAM} }

// limiting reports whether the change is about more than the size.
func (c *Change) limiting() bool {
	return len(c.Figures) > 0 || c.CPUMode != nil || c.CPUModel != nil || c.Nesting != nil || c.HotPlug != nil ||
		c.LiveResize != nil || c.Firewall != nil
}

// apply returns the limits after the change. A mode other than the custom one has no model.
func (c *Change) apply(l machine.Limits) machine.Limits {
	l.Firewall = slices.Clone(l.Firewall)
	for field, n := range c.Figures {
		l.Set(field, n)
	}
	if c.CPUMode != nil {
		if l.CPUMode = *c.CPUMode; c.CPUModel == nil {
			l.CPUModel = ""
		}
	}
	if c.CPUModel != nil {
		l.CPUModel = *c.CPUModel
	}
	if c.Nesting != nil {
		l.Nesting = *c.Nesting
	}
	if c.HotPlug != nil {
		l.HotPlug = *c.HotPlug
	}
	if c.LiveResize != nil {
		l.LiveResize = *c.LiveResize
	}
	if c.Firewall != nil {
		l.Firewall = *c.Firewall
	}
	return l
}

// limitsOf returns limits that a row may lack.
func limitsOf(l *machine.Limits) machine.Limits {
	if l == nil {
		return machine.Limits{}
	}
	return *l
}

// next returns the limits that a host has when what waits is done.
func next(h *host.Host) machine.Limits {
	if h.NewLimits != nil {
		return *h.NewLimits
	}
	return limitsOf(h.Limits)
}

// facts are what is known of the node of a host.
type facts struct {
	Features []string
	MinRAM   int32 // that the OS needs
}

// check refuses a change of a host that cannot be done, and returns the limits after it.
func (c *Change) check(h *host.Host, f facts, admin bool) (machine.Limits, error) {
	if h.State == host.Deleting {
		return machine.Limits{}, host.ErrDeleting.With("host %d is being deleted", h.ID)
	}
	if err := host.CheckSize(c.size()); err != nil {
		return machine.Limits{}, err
	}
	if c.RAM != 0 && c.RAM < f.MinRAM {
		return machine.Limits{}, fault.Invalid.With("the OS of the host needs at least %d", f.MinRAM).On("ram_mib")
	}
	before := next(h)
	after := c.apply(before)
	if err := after.Check(); err != nil {
		return after, err
	}
	if field := after.Loosened(before); field != "" && !admin {
		return after, fault.Denied.With("only an administrator raises or removes a limit, or changes a weight").On(field)
	}
	for _, n := range after.Needs() {
		if !slices.Contains(f.Features, n.Feature) && c.asks(n.Field) {
			return after, fault.Invalid.With("the node of the host cannot do that").On(n.Field)
		}
	}
	return after, nil
}

// asks reports whether the change is about this field.
func (c *Change) asks(field string) bool {
	_, figure := c.Figures[field]
	return figure || map[string]bool{
		"cpu_mode": c.CPUMode != nil, "cpu_custom_model": c.CPUModel != nil || c.CPUMode != nil, "nesting": c.Nesting != nil,
		"hot_plug": c.HotPlug != nil, "live_resize": c.LiveResize != nil, "firewall_rules": c.Firewall != nil,
	}[field]
}

// settle gives the host what the job has reached: the size that a running machine has, or all of it where the machine is off.
func (c *Change) settle(h *host.Host, ran machine.Adapted) {
	switch {
	case !ran.Running:
		h.CPUs, h.RAM = either(c.CPUs, h.CPUs), either(c.RAM, h.RAM)
	case !c.Deferred:
		h.CPUs, h.RAM = either(ran.Size.CPUs, h.CPUs), either(ran.Size.RAM, h.RAM)
	}
	if !c.limiting() {
		return
	}
	if ran.Running && c.Deferred {
		l := c.apply(next(h))
		h.NewLimits = &l
		return
	}
	l := c.apply(limitsOf(h.Limits))
	if h.Limits = &l; h.NewLimits != nil {
		later := c.apply(*h.NewLimits)
		h.NewLimits = &later
	}
}

func either(n, old int32) int32 {
	if n == 0 {
		return old
	}
	return n
}
