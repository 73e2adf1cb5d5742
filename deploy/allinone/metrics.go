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
}

func (s *process) serveMetrics(ctx context.Context) error {
	if s.obs == nil {
		<-ctx.Done()
		return nil
	}
	return s.obs.Serve(ctx, s.cfg.Metrics)
}
