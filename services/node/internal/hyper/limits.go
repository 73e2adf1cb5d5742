package hyper

import (
	"fmt"
	"regexp"
	"slices"
)

// What a node can give machines or limit, as Facts name it. Of CPU modes and models the name follows.
const (
	FeatureDisks     = "disks"       // that come and go
	FeatureGrowth    = "growth"      // CPUs and memory of a running machine
	FeatureThrottle  = "disk_limits" // throughput and operations of disks
	FeatureBandwidth = "bandwidth"   // of cards
	FeatureFirewall  = "firewall"    // rules of cards
	FeatureCPUWeight = "cpu_weight"  // shares of the node's CPUs
	FeatureIOWeight  = "io_weight"   // shares of the node's disks
	FeatureNesting   = "nesting"     // machines in machines
	FeatureMode      = "cpu_mode:"   // and the mode
	FeatureModel     = "cpu_model:"  // and the model
)

// CPU is how the CPUs of a machine look to its guest, and how much of the node's they get.
type CPU struct {
	Mode    string // a CPUMode; empty is the default
	Model   string // of CPUCustom
	Nesting bool
	Weight  int // share beside other machines; 0 is the usual one
}

// Modes of CPUs.
const (
	CPUDefault     = "default" // the most that the node can give
	CPUPassthrough = "host-passthrough"
	CPUHostModel   = "host-model"
	CPUCustom      = "custom"
)

// Throttle limits all disks of a machine together; 0 is no limit.
type Throttle struct {
	ReadMbit, WriteMbit int // MBit/s
	ReadIOPS, WriteIOPS int
	Weight              int // share beside other machines; 0 is the usual one
}

// Limited reports whether t limits throughput or operations.
func (t Throttle) Limited() bool { return t.ReadMbit+t.WriteMbit+t.ReadIOPS+t.WriteIOPS > 0 }

// Rule lets packets of a card pass or drops them. The first rule that a packet matches decides. A rule for TCP is about
// packets that open a connection alone.
type Rule struct {
	Drop      bool
	Out       bool     // packets from the guest; else those to it
	Protocols []string // Protocols; none: all
	From, To  int      // ports of the destination; 0: all
}

// Protocols of rules. ICMP is that of IPv6 too.
const (
	TCP  = "tcp"
	UDP  = "udp"
	ICMP = "icmp"
)

// Resources are what a machine runs with.
type Resources struct {
	CPUs      int
	MemoryMiB int64
	Disks     []string // names, in order
}

// Bounds of limits.
const (
	MaxMbit  = 100_000
	MaxIOPS  = 10_000_000
	MaxRules = 64
)

var cpuModel = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$`)

func (c CPU) check() error {
	switch {
	case c.Mode != "" && !slices.Contains([]string{CPUDefault, CPUPassthrough, CPUHostModel, CPUCustom}, c.Mode):
		return ErrInvalid.With("not a mode of CPUs").On("cpu.mode")
	case (c.Mode == CPUCustom) != (c.Model != "") || c.Model != "" && !cpuModel.MatchString(c.Model):
		return ErrInvalid.With("a model belongs to the mode %s", CPUCustom).On("cpu.model")
	case c.Weight != 0 && (c.Weight < 1 || c.Weight > 10000):
		return ErrInvalid.With("a weight is 1 to 10000").On("cpu.weight")
	}
	return nil
}

func (t Throttle) check() error {
	switch {
	case t.ReadMbit < 0 || t.ReadMbit > MaxMbit || t.WriteMbit < 0 || t.WriteMbit > MaxMbit:
		return ErrInvalid.With("a limit is at most %d Mbit/s", MaxMbit).On("throttle")
	case t.ReadIOPS < 0 || t.ReadIOPS > MaxIOPS || t.WriteIOPS < 0 || t.WriteIOPS > MaxIOPS:
		return ErrInvalid.With("a limit is at most %d operations", MaxIOPS).On("throttle")
	case t.Weight != 0 && (t.Weight < 10 || t.Weight > 1000):
		return ErrInvalid.With("a weight is 10 to 1000").On("throttle.weight")
	}
	return nil
}

// checkLimits returns an error if the limits of a card are not valid.
func (n NIC) checkLimits() error {
	if n.InMbit < 0 || n.InMbit > MaxMbit || n.OutMbit < 0 || n.OutMbit > MaxMbit {
		return ErrInvalid.With("a limit is at most %d Mbit/s", MaxMbit).On("bandwidth")
	}
	if len(n.Firewall) > MaxRules {
		return ErrInvalid.With("at most %d rules", MaxRules).On("firewall")
	}
	for i, r := range n.Firewall {
		if err := r.check(); err != nil {
			return ErrInvalid.With("%s", err).On(fmt.Sprintf("firewall[%d]", i))
		}
	}
	return nil
}

func (r Rule) check() error {
	for _, p := range r.Protocols {
		if !slices.Contains([]string{TCP, UDP, ICMP}, p) {
			return ErrInvalid.With("not a protocol")
		}
	}
	switch {
	case r.From < 0 || r.From > r.To || r.To > 65535 || r.From == 0 && r.To != 0:
		return ErrInvalid.With("not a range of ports")
	case r.To > 0 && (len(r.Protocols) == 0 || slices.Contains(r.Protocols, ICMP)):
		return ErrInvalid.With("ports belong to tcp and udp")
	}
	return nil
}

// memoryStep is what Linux guests add memory by.
const memoryStep = 128

// Most is what a machine that was started with growth can have until its next start.
func (m Machine) Most() Resources {
	if !m.Growth {
		return Resources{CPUs: m.CPUs, MemoryMiB: m.MemoryMiB}
	}
	return Resources{CPUs: max(m.CPUs, min(4*max(m.CPUs, 2), 240)), MemoryMiB: min(4*max(m.MemoryMiB, 1024), MaxMemoryMiB)}
}

// Grown returns what a machine that runs with now has after a change to want: more of what fits below most, and else what it has.
func Grown(now, want, most Resources) Resources {
	if want.CPUs > now.CPUs && want.CPUs <= most.CPUs {
		now.CPUs = want.CPUs
	}
	if more := want.MemoryMiB - now.MemoryMiB; more > 0 && more%memoryStep == 0 && want.MemoryMiB <= most.MemoryMiB {
		now.MemoryMiB = want.MemoryMiB
	}
	return now
}
