package sim

import (
	"context"
	"slices"
	"time"

	"github.com/google/uuid"

	"slipway.dev/services/node/internal/hyper"
)

// What a simulated guest uses in a second, for each CPU, disk and card.
const (
	busy   = 100 * time.Millisecond
	blocks = 1 << 20
	frames = 1 << 16
	frame  = 1 << 10
)

// Usage returns what the running machines would have used since their start: a tenth of each CPU, half of the memory, and a
// steady stream of bytes.
func (d *Driver) Usage(ctx context.Context) ([]hyper.Usage, error) {
	if err := d.enter(ctx, "Usage", uuid.Nil); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []hyper.Usage
	for id, m := range d.machines {
		if m.Power == hyper.Running && m.Running != nil && d.ours(m) == nil {
			out = append(out, usage(id, m.Running, d.cfg.Now().Sub(m.Since)))
		}
	}
	return out, nil
}

func usage(id uuid.UUID, def *hyper.Machine, since time.Duration) hyper.Usage {
	whole := max(since, 0) / time.Second
	seconds := uint64(whole) // #nosec G115 -- not negative
	total := def.MemoryMiB << 20
	u := hyper.Usage{
		UUID: id, HostID: def.Meta.HostID, CPUs: def.CPUs,
		CPU:    time.Duration(def.CPUs) * whole * busy,
		Memory: hyper.MemoryUsage{Total: total, Used: total / 2},
	}
	for _, k := range def.Disks {
		u.Disks = append(u.Disks, hyper.DiskUsage{Name: k.Name, Read: seconds * blocks, Written: seconds * blocks, Reads: seconds, Writes: seconds})
	}
	u.Cards = slices.Repeat([]hyper.CardUsage{{
		Received: seconds * frames, Sent: seconds * frames, ReceivedPackets: seconds * frames / frame, SentPackets: seconds * frames / frame,
	}}, len(def.NICs))
	return u
}
