package host

import (
	"google.golang.org/grpc/codes"

	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/pkg/fault"
	"slipway.dev/services/vm/internal/machine"
)

// ErrBusy asks to repeat a request that met another one.
var ErrBusy = fault.New(codes.Unavailable, "BUSY", "other requests changed the same objects, repeat the request")

// Sold returns what is sold of the node for the host and counted for its account.
func (h *Host) Sold() (cpus, ram int32) {
	if cpus = h.CPUs; h.SoldCPUs != nil {
		cpus = *h.SoldCPUs
	}
	if ram = h.RAM; h.SoldRAM != nil {
		ram = *h.SoldRAM
	}
	return cpus, ram
}

// setSold sets what is sold; what the host has needs no number.
func (h *Host) setSold(cpus, ram int32) {
	h.SoldCPUs, h.SoldRAM = nil, nil
	if cpus != h.CPUs {
		h.SoldCPUs = &cpus
	}
	if ram != h.RAM {
		h.SoldRAM = &ram
	}
}

// drop forgets what no longer waits, and sells no more than the host has and what waits.
func (h *Host) drop() {
	cpus, ram := h.CPUs, h.RAM
	if h.NewCPUs != nil {
		cpus = max(cpus, *h.NewCPUs)
		if h.ResizeTask == nil && *h.NewCPUs == h.CPUs {
			h.NewCPUs = nil
		}
	}
	if h.NewRAM != nil {
		ram = max(ram, *h.NewRAM)
		if h.ResizeTask == nil && *h.NewRAM == h.RAM {
			h.NewRAM = nil
		}
	}
	h.setSold(cpus, ram)
}

// takeOver gives the host what waited.
func (h *Host) takeOver() {
	if h.NewCPUs != nil {
		h.CPUs = *h.NewCPUs
	}
	if h.NewRAM != nil {
		h.RAM = *h.NewRAM
	}
	h.takeLimits()
}

func (h *Host) takeLimits() {
	if h.NewLimits != nil {
		h.Limits, h.NewLimits = h.NewLimits, nil
	}
}

// Withdraw takes back the size that waits, for the one that waited before it. What is not sold for the host any more cannot
// wait again.
func (h *Host) Withdraw(cpus, ram *int32) {
	soldCPUs, soldRAM := h.Sold()
	if h.NewCPUs = cpus; cpus != nil && *cpus > soldCPUs {
		h.NewCPUs = nil
	}
	if h.NewRAM = ram; ram != nil && *ram > soldRAM {
		h.NewRAM = nil
	}
}

// CheckSize refuses a size that no host can have; 0 says nothing.
func CheckSize(s machine.Size) error {
	if err := between("cpu_number", s.CPUs, 0, maxCPUs); err != nil {
		return err
	}
	return between("ram_mib", s.RAM, 0, maxRAMMiB)
}

// RulesOf returns the rules of a firewall that a request asks for.
func RulesOf(list []*vmpb.NewFirewallRule) (rules []machine.Rule) {
	for _, r := range list {
		rules = append(rules, machine.Rule{
			Action: r.GetAction(), Direction: r.GetDirection(), Protocols: r.GetProtocols(),
			PortStart: r.GetPortstart(), PortEnd: r.GetPortend(),
		})
	}
	return rules
}
