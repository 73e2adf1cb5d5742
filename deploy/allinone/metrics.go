package allinone

import (
	"context"

	"slipway.dev/pkg/obs"
	"slipway.dev/services/vm"
)

// watch makes everything countable that the separate processes count.
func (s *stack) watch() {
	s.obs = obs.New(s.infra.ready)
	for schema, pool := range s.infra.pools {
		s.obs.Database(schema, pool)
	}
	s.obs.Jobs(vm.Schema, s.infra.pools[vm.Schema])
	s.obs.Findings(s.vm.Findings)
	s.obs.Breakers(s.vm.Breakers)
	s.auth.Server().Observe(s.obs.Call("auth"))
	s.ip.Server().Observe(s.obs.Call("ip"))
	s.vm.Server().Observe(s.obs.Call("vm"))
	s.node.Server().Observe(s.obs.Call("node"))
}

func (s *stack) serveMetrics(ctx context.Context) error {
	if s.obs == nil {
		<-ctx.Done()
		return nil
	}
	return s.obs.Serve(ctx, s.cfg.Metrics)
}
