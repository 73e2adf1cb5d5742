package sim

import (
	"context"
	"maps"
	"slices"

	"github.com/google/uuid"

	"slipway.dev/services/node/internal/hyper"
)

// Orphans lists nothing: the rules of a simulated card are a part of its machine.
func (d *Driver) Orphans(ctx context.Context) ([]string, error) {
	return nil, d.enter(ctx, "Orphans", uuid.Nil)
}

// Networks lists the recorded bridges.
func (d *Driver) Networks(ctx context.Context) ([]hyper.Network, error) {
	if err := d.enter(ctx, "Networks", uuid.Nil); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Collect(maps.Values(d.networks)), nil
}

// Traces lists every machine with any trace.
func (d *Driver) Traces(ctx context.Context) ([]hyper.Trace, error) {
	if err := d.enter(ctx, "Traces", uuid.Nil); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	out := make([]hyper.Trace, 0, len(d.machines))
	for id, m := range d.machines {
		if d.ours(m) != nil {
			continue
		}
		out = append(out, hyper.Trace{
			UUID: id, Defined: m.Def != nil, Running: m.Running != nil, Disks: slices.Sorted(maps.Keys(m.Disks)), Seed: m.Seed != nil,
		})
	}
	return out, nil
}
