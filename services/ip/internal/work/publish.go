// Package work does what the ip service does in the background: it publishes PTR records and frees what is due.
package work

import (
	"context"
	"log/slog"
	"time"

	"slipway.dev/services/ip/internal/rdns"
	"slipway.dev/services/ip/internal/store"
)

// Publisher makes the name servers say what the addresses' domains are. What it could not tell it tells again, later and
// later; a request never waits for it.
type Publisher struct {
	store *store.Store
	dns   *rdns.Client // nil: nobody is told, and everything as soon as somebody can be
	log   *slog.Logger
	wake  chan struct{}
}

// NewPublisher makes a publisher that tells dns.
func NewPublisher(s *store.Store, dns *rdns.Client, log *slog.Logger) *Publisher {
	return &Publisher{store: s, dns: dns, log: log, wake: make(chan struct{}, 1)}
}

// Poke says that there may be something to publish.
func (p *Publisher) Poke() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

const (
	looking = 2 * time.Second // between two looks, when nobody pokes
	batch   = 20
	longest = 10 * time.Minute // between two tries
)

// Run publishes until ctx ends.
func (p *Publisher) Run(ctx context.Context) error {
	if p.dns == nil {
		<-ctx.Done()
		return nil
	}
	tick := time.NewTicker(looking)
	defer tick.Stop()
	for {
		list, err := p.store.TakePTRs(ctx, batch)
		if err != nil && ctx.Err() == nil {
			p.log.Warn("look for PTR records", "err", err)
		}
		for _, r := range list {
			p.publish(ctx, r)
		}
		if len(list) > 0 {
			continue
		}
		select {
		case <-ctx.Done():
			return nil
		case <-p.wake:
		case <-tick.C:
		}
	}
}

// publish may run twice: the name servers are told how it shall be, not what changed.
func (p *Publisher) publish(ctx context.Context, r store.PTR) {
	err := p.dns.Set(ctx, r.IP, r.Name)
	if err == nil {
		err = p.store.PublishedPTR(ctx, r)
	} else {
		p.log.Warn("the PTR record waits", "ip", r.IP, "attempt", r.Attempt, "err", err)
		err = p.store.FailedPTR(ctx, r, backoff(r.Attempt))
	}
	if err != nil && ctx.Err() == nil {
		p.log.Warn("record what became of a PTR record", "ip", r.IP, "err", err)
	}
}

// backoff doubles from one second on.
func backoff(attempt int32) time.Duration {
	return min(time.Second<<min(attempt-1, 20), longest)
}
