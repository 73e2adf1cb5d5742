package vm

import (
	"context"
	"strconv"

	"slipway.dev/pkg/obs"
	"slipway.dev/services/vm/internal/leftover"
)

var (
	findings = obs.Desc("slipway_fsck_findings",
		"Findings of the last consistency check, by kind; absent in processes that do not run the check.", "kind")
	breakerOpen = obs.Desc("slipway_reap_breaker_open",
		"1: the breaker of the node is open, so that no leftover is removed there until a person closes it.", "node")
	nodeHangs = obs.Desc("slipway_node_breaker_open",
		"1: steps on the node time out, so that its tasks wait, except for probes; 0: some timed out lately. Absent for other nodes.",
		"node")
	removed = obs.Desc("slipway_reaped_machines",
		"Leftovers of the node whose removal counts against its breaker: those of the last hour.", "node")
)

// observe adds the metrics that only vm has.
func (s *Service) observe(o *obs.Obs) {
	o.Gauges(func(_ context.Context, set obs.Set) error {
		for kind, n := range s.fsck.Findings() {
			set(findings, float64(n), kind)
		}
		return nil
	})
	o.Gauges(func(_ context.Context, set obs.Set) error {
		for _, b := range s.jobs.Breakers() {
			open := 0.0
			if b.Open {
				open = 1
			}
			set(nodeHangs, open, strconv.Itoa(int(b.NodeID)))
		}
		return nil
	})
	o.Gauges(func(ctx context.Context, set obs.Set) error {
		list, err := leftover.Breakers(ctx, s.db)
		for _, b := range list {
			open := 0.0
			if b.Open {
				open = 1
			}
			set(breakerOpen, open, b.Node)
			set(removed, float64(b.Removed), b.Node)
		}
		return err
	})
}
