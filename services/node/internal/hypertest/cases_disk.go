package hypertest

import (
	"context"
	"slices"
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

// moveDisk: a disk goes to another machine, or to a place of its own, once neither the definition nor the run of its machine has it.
func moveDisk(s suite) {
	ctx, m, other, place := context.Background(), Machine(s.T, s.d), Machine(s.T, s.d), uuid.New()
	s.Cleanup(func() { s.ok("Remove", s.d.Remove(ctx, place)) })
	data := hyper.Disk{Name: "vol7", SizeMiB: 8}
	s.ok("EnsureDisk in a place of its own", s.d.EnsureDisk(ctx, place, data))
	s.trace(place, hyper.Trace{UUID: place, Disks: []string{"vol7"}})
	for _, name := range []string{"", "../root", "a/b", "root.qcow2", strings.Repeat("a", 4096)} {
		s.is("MoveDisk "+name, s.d.MoveDisk(ctx, place, name, m.UUID, "vol7"), hyper.ErrInvalid)
		s.is("MoveDisk to "+name, s.d.MoveDisk(ctx, place, "vol7", m.UUID, name), hyper.ErrInvalid)
	}
	s.is("MoveDisk to the same machine", s.d.MoveDisk(ctx, place, "vol7", place, "vol8"), hyper.ErrInvalid)
	s.is("MoveDisk of what is not there", s.d.MoveDisk(ctx, uuid.New(), "vol7", m.UUID, "vol9"), hyper.ErrNoDisk)
	s.is("MoveDisk over another disk", s.d.MoveDisk(ctx, place, "vol7", m.UUID, "root"), hyper.ErrInvalid)
	for range 2 { // the second time it was moved before
		s.ok("MoveDisk", s.d.MoveDisk(ctx, place, "vol7", m.UUID, "vol7"))
		s.trace(m.UUID, hyper.Trace{UUID: m.UUID, Disks: []string{"root", "vol7"}, Seed: true})
		s.gone(place)
	}
	m.Disks = append(m.Disks, data)
	s.ok("Define", s.d.Define(ctx, m))
	s.is("MoveDisk of the definition", s.d.MoveDisk(ctx, m.UUID, "vol7", other.UUID, "vol7"), hyper.ErrDiskInUse)
	s.ok("Start", s.d.Start(ctx, m.UUID))
	m.Disks = m.Disks[:1]
	s.ok("Define without the disk", s.d.Define(ctx, m))
	s.is("MoveDisk of the machine that runs", s.d.MoveDisk(ctx, m.UUID, "vol7", other.UUID, "vol7"), hyper.ErrDiskInUse)
	s.ok("PowerOff", s.d.PowerOff(ctx, m.UUID))
	for range 2 {
		s.ok("MoveDisk to another machine", s.d.MoveDisk(ctx, m.UUID, "vol7", other.UUID, "data"))
		s.trace(m.UUID, hyper.Trace{UUID: m.UUID, Defined: true, Disks: []string{"root"}, Seed: true})
		s.trace(other.UUID, hyper.Trace{UUID: other.UUID, Disks: []string{"data", "root"}, Seed: true})
	}
	other.Disks = append(other.Disks, hyper.Disk{Name: "data", SizeMiB: 8})
	s.ok("Define the other machine", s.d.Define(ctx, other))
	s.ok("Start it", s.d.Start(ctx, other.UUID))
	s.power(other.UUID, hyper.Running)
}

// gone: nothing is left of a machine or of a place.
func (s suite) gone(id uuid.UUID) {
	s.Helper()
	list, err := s.d.Traces(context.Background())
	s.ok("Traces", err)
	if slices.ContainsFunc(list, func(t hyper.Trace) bool { return t.UUID == id }) {
		s.Errorf("%s has traces", id)
	}
}

// exchange: Adapt returns the disks that a machine runs with. One that was added or taken comes or goes at once, or at the next start.
func exchange(s suite) {
	ctx, m := context.Background(), Machine(s.T, s.d)
	data := hyper.Disk{Name: "vol7", SizeMiB: 8}
	s.ok("EnsureDisk", s.d.EnsureDisk(ctx, m.UUID, data))
	s.ok("Define", s.d.Define(ctx, m))
	s.ok("Start", s.d.Start(ctx, m.UUID))
	s.runsWith("at the start", m.UUID, "root")
	bare := m
	m.Disks = []hyper.Disk{data, m.Disks[0]}
	s.ok("Define with another disk", s.d.Define(ctx, m))
	if s.o.Plugs {
		s.runsWith("plugged", m.UUID, "root", "vol7")
		s.runsWith("plugged before", m.UUID, "root", "vol7")
	}
	s.ok("PowerOff", s.d.PowerOff(ctx, m.UUID))
	s.ok("Start", s.d.Start(ctx, m.UUID))
	s.runsWith("after a start", m.UUID, "root", "vol7")
	slow := m
	slow.Disks = slices.Clone(m.Disks)
	slow.Disks[1].Bus = hyper.SATA
	s.ok("Define with another bus", s.d.Define(ctx, slow))
	s.runsWith("until the next start", m.UUID, "root", "vol7")
	s.ok("PowerOff", s.d.PowerOff(ctx, m.UUID))
	s.ok("Start", s.d.Start(ctx, m.UUID))
	s.runsWith("with another bus", m.UUID, "root", "vol7")
	bad := slow
	bad.Disks = []hyper.Disk{{Name: "root", SizeMiB: 8, Bus: "ide"}}
	s.is("Define with a bus that is none", s.d.Define(ctx, bad), hyper.ErrInvalid)
	s.ok("PowerOff", s.d.PowerOff(ctx, m.UUID))
	s.ok("Define without the disk", s.d.Define(ctx, bare))
	s.ok("RemoveDisk", s.d.RemoveDisk(ctx, m.UUID, "vol7"))
	s.ok("Start", s.d.Start(ctx, m.UUID))
	s.runsWith("without the disk", m.UUID, "root")
}

// runsWith compares the disks that a machine runs with after Adapt.
func (s suite) runsWith(when string, id uuid.UUID, want ...string) {
	s.Helper()
	got, err := s.d.Adapt(context.Background(), id, false)
	s.ok("Adapt: "+when, err)
	if !slices.Equal(got.Disks, want) {
		s.Errorf("%s: the machine runs with the disks %v, want %v", when, got.Disks, want)
	}
}
