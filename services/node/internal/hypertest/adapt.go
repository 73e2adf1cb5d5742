package hypertest

import (
	"context"
	"net"

	"github.com/google/uuid"

	"slipway.dev/services/node/internal/hyper"
)

// adapt: a running machine gets what it can, and all of its definition at its next start.
func adapt(s suite) {
	ctx, m := context.Background(), Machine(s.T, s.d)
	_, err := s.d.Adapt(ctx, m.UUID, true)
	s.is("Adapt undefined", err, hyper.ErrNotDefined)
	m.Growth = true
	s.ok("Define", s.d.Define(ctx, m))
	s.has("off", m.UUID, true, hyper.Resources{})
	s.ok("Start", s.d.Start(ctx, m.UUID))
	s.has("as it was", m.UUID, true, hyper.Resources{CPUs: 1, MemoryMiB: 64})

	m.Throttle = hyper.Throttle{ReadMbit: 80, WriteMbit: 40, ReadIOPS: 500}
	s.ok("Define limits", s.d.Define(ctx, m))
	s.has("limits", m.UUID, true, hyper.Resources{CPUs: 1, MemoryMiB: 64})
	m.Throttle = hyper.Throttle{}
	s.ok("Define without limits", s.d.Define(ctx, m))
	s.has("without limits", m.UUID, true, hyper.Resources{CPUs: 1, MemoryMiB: 64})

	m.CPUs, m.MemoryMiB = 3, 64+256
	s.ok("Define larger", s.d.Define(ctx, m))
	s.has("kept for later", m.UUID, false, hyper.Resources{CPUs: 1, MemoryMiB: 64})
	if s.o.Growth {
		for range 2 { // the second time changes nothing
			s.has("larger", m.UUID, true, hyper.Resources{CPUs: 3, MemoryMiB: 64 + 256})
		}
		m.CPUs, m.MemoryMiB = 2, 128
		s.ok("Define smaller", s.d.Define(ctx, m))
		s.has("smaller", m.UUID, true, hyper.Resources{CPUs: 3, MemoryMiB: 64 + 256})
		m.CPUs, m.MemoryMiB = 200, 1<<20
		s.ok("Define too large", s.d.Define(ctx, m))
		s.has("too large", m.UUID, true, hyper.Resources{CPUs: 3, MemoryMiB: 64 + 256})
		m.CPUs, m.MemoryMiB = 2, 128
		s.ok("Define smaller", s.d.Define(ctx, m))
	}
	s.ok("PowerOff", s.d.PowerOff(ctx, m.UUID))
	s.ok("Start", s.d.Start(ctx, m.UUID))
	s.has("after the start", m.UUID, false, hyper.Resources{CPUs: m.CPUs, MemoryMiB: m.MemoryMiB})
}

// has compares what a machine runs with after Adapt.
func (s suite) has(what string, id uuid.UUID, live bool, want hyper.Resources) {
	s.Helper()
	got, err := s.d.Adapt(context.Background(), id, live)
	s.ok("Adapt: "+what, err)
	if got.CPUs != want.CPUs || got.MemoryMiB != want.MemoryMiB {
		s.Errorf("%s: the machine runs with %+v, want %+v", what, got, want)
	}
}

// Limited is what the node does to the packets of a running machine's card at this moment.
type Limited struct {
	InMbit, OutMbit int
	In, Out         bool // there are rules of a firewall
}

// limits: rules and bandwidth of a card hold from the start on, change while the machine runs, and are put back.
func limits(s suite) {
	ctx, m, n := context.Background(), Machine(s.T, s.d), s.o.Network(s.T)
	s.ok("EnsureNetwork", s.d.EnsureNetwork(ctx, n))
	check := func(when string, want Limited) {
		s.Helper()
		if got := s.o.Limits(s.T, s.d, m.UUID); got != want {
			s.Errorf("%s the card is limited to %+v, want %+v", when, got, want)
		}
	}
	define := func(in, out int, rules ...hyper.Rule) {
		s.Helper()
		m.NICs = []hyper.NIC{{
			MAC: net.HardwareAddr{0x52, 0x54, 0, 0, 7, 9}, Network: n.Name, InMbit: in, OutMbit: out, Firewall: rules,
		}}
		s.ok("Define", s.d.Define(ctx, m))
	}
	inward := hyper.Rule{Drop: true, Protocols: []string{hyper.TCP}, From: 22, To: 22}
	outward := hyper.Rule{Drop: true, Out: true, Protocols: []string{hyper.UDP, hyper.ICMP}}
	define(40, 20, inward)
	s.ok("Start", s.d.Start(ctx, m.UUID))
	check("after the start", Limited{40, 20, true, false})
	define(80, 0, outward)
	check("after a change", Limited{80, 0, false, true})
	if s.o.Steal != nil {
		s.o.Steal(s.T, n.Name)
		_, err := s.d.Repair(ctx)
		s.ok("Repair", err)
		check("after a theft", Limited{80, 0, false, true})
	}
	define(0, 0)
	check("without limits", Limited{})
	define(8, 8, inward, outward)
	s.ok("PowerOff", s.d.PowerOff(ctx, m.UUID))
	s.ok("Start", s.d.Start(ctx, m.UUID))
	check("after a restart", Limited{8, 8, true, true})
	bad := m
	bad.NICs = []hyper.NIC{m.NICs[0]}
	bad.NICs[0].Firewall = []hyper.Rule{{Protocols: []string{"sctp"}}}
	s.is("Define with a rule that is none", s.d.Define(ctx, bad), hyper.ErrInvalid)
	s.ok("Remove", s.d.Remove(ctx, m.UUID))
	s.clean(m.UUID)
	s.ok("RemoveNetwork", s.d.RemoveNetwork(ctx, n.Name))
}
