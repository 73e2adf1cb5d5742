package hypertest

import (
	"context"
	"net"
	"slices"

	"github.com/google/uuid"

	"slipway.dev/services/node/internal/hyper"
)

// usage: a running machine is sampled with its CPUs, memory, disks and cards; a stopped one is not.
func usage(s suite) {
	ctx, m := context.Background(), Machine(s.T, s.d)
	if s.o.Network != nil {
		n := s.o.Network(s.T)
		s.ok("EnsureNetwork", s.d.EnsureNetwork(ctx, n))
		m.NICs = []hyper.NIC{{MAC: net.HardwareAddr{0x52, 0x54, 0, 0, 8, 8}, Network: n.Name}}
	}
	s.ok("Define", s.d.Define(ctx, m))
	if u := s.used(m.UUID); u != nil {
		s.Errorf("a stopped machine uses %+v", u)
	}
	s.ok("Start", s.d.Start(ctx, m.UUID))
	u := s.used(m.UUID)
	if u == nil {
		s.Fatal("a running machine is not sampled")
	}
	if u.HostID != m.Meta.HostID || u.CPUs != m.CPUs || u.Memory.Total != m.MemoryMiB<<20 || u.Memory.Used < 0 || u.Memory.Used > u.Memory.Total {
		s.Errorf("%+v of a machine with %d CPUs and %d MiB, host %d", u, m.CPUs, m.MemoryMiB, m.Meta.HostID)
	}
	if len(u.Disks) != 1 || u.Disks[0].Name != "root" || len(u.Cards) != len(m.NICs) {
		s.Errorf("disks %+v, cards %+v", u.Disks, u.Cards)
	}
	s.ok("PowerOff", s.d.PowerOff(ctx, m.UUID))
	if u := s.used(m.UUID); u != nil {
		s.Errorf("a machine that was stopped uses %+v", u)
	}
	s.ok("Remove", s.d.Remove(ctx, m.UUID))
	if s.o.Network != nil {
		s.ok("RemoveNetwork", s.d.RemoveNetwork(ctx, m.NICs[0].Network))
	}
}

// used returns the sample of a machine, or nil.
func (s suite) used(id uuid.UUID) *hyper.Usage {
	s.Helper()
	list, err := s.d.Usage(context.Background())
	s.ok("Usage", err)
	if i := slices.IndexFunc(list, func(u hyper.Usage) bool { return u.UUID == id }); i >= 0 {
		return &list[i]
	}
	return nil
}
