package allinone

import (
	"context"

	"slipway.dev/pkg/obs"
)

// watch makes everything countable that the separate processes count.
func (s *process) watch() {
	s.obs = obs.New(s.infra.ready)
	s.services.Observe(s.obs)
	s.node.Observe(s.obs)
	if nats := s.infra.nats; nats != nil {
		s.obs.Gauges(func(_ context.Context, set obs.Set) error {
			up := 1.0
			if nats.Ready() != nil {
				up = 0
			}
			set(busReady, up)
			return nil
		})
	}
}

var busReady = obs.Desc("slipway_bus_ready", "1 if the embedded bus can store events, 0 if not, as with a full disk.")

func (s *process) serveMetrics(ctx context.Context) error {
	if s.obs == nil {
		<-ctx.Done()
		return nil
	}
	return s.obs.Serve(ctx, s.cfg.Metrics)
}
