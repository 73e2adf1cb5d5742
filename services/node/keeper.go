package node

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"slipway.dev/pkg/obs"
	"slipway.dev/services/node/internal/hyper"
)

// repairEvery is how often the agent looks whether its networks are as they should be: as often as it gives a sign of
// life.
const repairEvery = 10 * time.Second

// keeper keeps the networks of the node as they should be, and counts what it had to put back.
type keeper struct {
	mu   sync.Mutex
	done hyper.Repairs
}

// run repairs at once and then periodically, until ctx ends.
func (k *keeper) run(ctx context.Context, repair func(context.Context) (hyper.Repairs, error), log *slog.Logger) {
	for ctx.Err() == nil {
		done, err := repair(ctx)
		if err != nil && ctx.Err() == nil {
			log.Warn("look at the networks", "err", err)
		}
		k.note(done, log)
		select {
		case <-ctx.Done():
		case <-time.After(repairEvery):
		}
	}
}

// note counts repairs, and logs them: another program works against the agent.
func (k *keeper) note(done hyper.Repairs, log *slog.Logger) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.done == nil {
		k.done = hyper.Repairs{}
	}
	k.done.Add(done)
	for what, n := range done {
		log.Warn("another program removed a part of a network: put back", "what", what, "count", n)
	}
}

// counts returns what was put back so far.
func (k *keeper) counts() hyper.Repairs {
	k.mu.Lock()
	defer k.mu.Unlock()
	all := hyper.Repairs{}
	all.Add(k.done)
	return all
}

var repairs = obs.Desc("slipway_node_repairs",
	`What the agent put back since its start, because another program had removed it: "bridge", "forwarding", "rules", "port", "guard".`,
	"what")

var leftOut = obs.Desc("slipway_node_left_out",
	`What the agent works without, because it is damaged or not acceptable: "template", "fence" (records of commands).`, "what")

// Observe adds the metrics of the agent.
func (s *Service) Observe(o *obs.Obs) {
	s.server.Observe(o.Call("node"))
	o.Gauges(func(_ context.Context, set obs.Set) error {
		for what, n := range s.keeper.counts() {
			set(repairs, float64(n), what)
		}
		set(leftOut, float64(s.oses.Bad()), "template")
		set(leftOut, float64(s.damaged), "fence")
		return nil
	})
	o.Metrics(s.usage)
}
