package hypertest

import (
	"context"
	"strings"

	"github.com/google/uuid"

	"slipway.dev/services/node/internal/hyper"
)

// removeDisk: a disk that the machine neither has nor runs with goes, and no other one does.
func removeDisk(s suite) {
	ctx, m := context.Background(), Machine(s.T, s.d)
	for _, name := range []string{"", "../root", "a/b", "root.qcow2", strings.Repeat("a", 4096)} {
		s.is("RemoveDisk "+name, s.d.RemoveDisk(ctx, m.UUID, name), hyper.ErrInvalid)
	}
	s.ok("RemoveDisk of an unknown machine", s.d.RemoveDisk(ctx, uuid.New(), "root"))
	fresh := hyper.Disk{Name: "root-2", SizeMiB: 8}
	s.ok("EnsureDisk", s.d.EnsureDisk(ctx, m.UUID, fresh))
	s.ok("RemoveDisk before the definition", s.d.RemoveDisk(ctx, m.UUID, fresh.Name))
	s.trace(m.UUID, hyper.Trace{UUID: m.UUID, Disks: []string{"root"}, Seed: true})
	s.ok("EnsureDisk", s.d.EnsureDisk(ctx, m.UUID, fresh))
	s.ok("Define", s.d.Define(ctx, m))
	s.ok("Start", s.d.Start(ctx, m.UUID))
	s.is("RemoveDisk of the definition", s.d.RemoveDisk(ctx, m.UUID, "root"), hyper.ErrDiskInUse)
	m.Disks = []hyper.Disk{fresh}
	s.ok("Define with the other disk", s.d.Define(ctx, m))
	s.is("RemoveDisk of the machine that runs", s.d.RemoveDisk(ctx, m.UUID, "root"), hyper.ErrDiskInUse)
	s.ok("PowerOff", s.d.PowerOff(ctx, m.UUID))
	for range 2 {
		s.ok("RemoveDisk", s.d.RemoveDisk(ctx, m.UUID, "root"))
		s.trace(m.UUID, hyper.Trace{UUID: m.UUID, Defined: true, Disks: []string{fresh.Name}, Seed: true})
	}
	s.ok("Start", s.d.Start(ctx, m.UUID))
	s.power(m.UUID, hyper.Running)
	s.ok("Remove", s.d.Remove(ctx, m.UUID))
	s.clean(m.UUID)
}
