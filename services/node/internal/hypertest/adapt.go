package hypertest

import (
	"context"

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
	if got != want {
		s.Errorf("%s: the machine runs with %+v, want %+v", what, got, want)
	}
}
