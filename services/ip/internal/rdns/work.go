package rdns

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"slipway.dev/pkg/unit"
)

// Publisher sends the PTR records that are due to the name server. A request never waits for the name server; an
// attempt that failed is repeated after a growing delay.
type Publisher struct {
	db   *unit.DB
	dns  *client // nil without a name server: records wait until one is configured
	log  *slog.Logger
	wake chan struct{}
}

// NewPublisher returns a publisher of the records in db. Without a server in cfg it publishes nothing.
func NewPublisher(db *unit.DB, cfg Config, log *slog.Logger) (*Publisher, error) {
	dns, err := newClient(cfg)
	if err != nil {
		return nil, err
	}
	return &Publisher{db: db, dns: dns, log: log, wake: make(chan struct{}, 1)}, nil
}

// Publishes reports whether there is a name server.
func (p *Publisher) Publishes() bool { return p.dns != nil }

// Poke makes the publisher look for due records now.
func (p *Publisher) Poke() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

const (
	interval = 2 * time.Second // between two looks without a poke
	batch    = 20
	// Between two attempts: while the server is away, and after a refusal, which lasts until the server is changed.
	maxDelay, maxRefused = 10 * time.Minute, 24 * time.Hour
)

// Run publishes until ctx ends.
func (p *Publisher) Run(ctx context.Context) error {
	if p.dns == nil {
		<-ctx.Done()
		return nil
	}
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		list, err := lock(ctx, p.db, batch)
		if err != nil && ctx.Err() == nil {
			p.log.Warn("load due PTR records", "err", err)
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

// publish sends one record and records the outcome. A second run is harmless: an update states the whole record, not a
// change.
func (p *Publisher) publish(ctx context.Context, r record) {
	err := p.dns.set(ctx, r.IP, r.Name)
	if err == nil {
		err = published(ctx, p.db, r)
	} else {
		why, most := explain(err)
		wait := backoff(r.Failures, most)
		p.log.Warn("publish PTR record", "ip", r.IP, "failures", r.Failures+1, "again", wait, "err", err)
		err = failed(ctx, p.db, r, why, wait)
	}
	if err != nil && ctx.Err() == nil {
		p.log.Warn("record the outcome of a PTR record", "ip", r.IP, "err", err)
	}
}

// explain returns what the API says of a failure, and the longest delay after failures of its kind.
func explain(err error) (why string, most time.Duration) {
	if r, ok := errors.AsType[refusal](err); ok {
		return r.Error(), maxRefused
	}
	return "the name server does not answer, or cannot answer now", maxDelay
}

// backoff returns the delay before the next attempt; it doubles with each failure, from one second up to most.
func backoff(failures int32, most time.Duration) time.Duration {
	return min(time.Second<<min(failures, 20), most)
}
