package obs

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"
)

var (
	breakerOpen = desc("slipway_reap_breaker_open", "1: the breaker of the node is open, so that no leftover is removed there until a person closes it.", "node")
	reaped      = desc("slipway_reaped_machines", "Leftovers of the node whose removal counts against its breaker: those of the last hour.", "node")
)

// Breaker is that of one node against removing too much.
type Breaker struct {
	Node    string
	Open    bool
	Removed int
}

// Breakers tells of the breakers that f finds.
func (o *Obs) Breakers(f func(context.Context) ([]Breaker, error)) {
	o.registry.MustRegister(collector(func(ctx context.Context, c chan<- prometheus.Metric) error {
		list, err := f(ctx)
		for _, b := range list {
			open := 0.0
			if b.Open {
				open = 1
			}
			gauge(c, breakerOpen, open, b.Node)
			gauge(c, reaped, float64(b.Removed), b.Node)
		}
		return err
	}))
}
