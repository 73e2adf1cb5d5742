package allinone

import (
	"context"

	"slipway.dev/pkg/obs"
)

// watch makes everything countable that the separate processes count.
func (s *stack) watch() {
	s.obs = obs.New(s.infra.ready)
	s.auth.Observe(s.obs)
	s.ip.Observe(s.obs)
	s.vm.Observe(s.obs)
	s.node.Server().Observe(s.obs.Call("node"))
}

func (s *stack) serveMetrics(ctx context.Context) error {
	if s.obs == nil {
		<-ctx.Done()
		return nil
	}
	return s.obs.Serve(ctx, s.cfg.Metrics)
}
