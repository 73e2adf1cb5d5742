package account

import (
	"context"
	"time"

	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/pkg/fault"
)

// CountHosts counts the hosts of an account.
func (s *Server) CountHosts(ctx context.Context, r *vmpb.CountHostsRequest) (*vmpb.CountHostsResponse, error) {
	n, err := countHosts(ctx, s.db, r.GetAccount())
	if err != nil {
		return nil, err
	}
	return &vmpb.CountHostsResponse{Hosts: n}, nil
}

// How long AwaitHeir waits, and how often it looks.
const (
	awaitMost  = 10 * time.Second
	awaitEvery = 10 * time.Millisecond
)

// AwaitHeir waits until the event of an account's deletion took effect.
func (s *Server) AwaitHeir(ctx context.Context, r *vmpb.AwaitHeirRequest) (*vmpb.AwaitHeirResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, awaitMost)
	defer cancel()
	tick := time.NewTicker(awaitEvery)
	defer tick.Stop()
	for {
		heir, left, err := heirOf(ctx, s.db, r.GetAccount())
		if err != nil {
			return nil, err
		}
		if left {
			return &vmpb.AwaitHeirResponse{Heir: heir}, nil
		}
		select {
		case <-ctx.Done():
			return nil, fault.Unavailable.With("the account %d has not left yet", r.GetAccount()).Wrap(ctx.Err())
		case <-tick.C:
		}
	}
}
