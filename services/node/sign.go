package node

import (
	"context"
	"log/slog"
	"time"
)

const (
	firstRetry = time.Second
	// lastRetry bounds the wait between two signs that do not arrive. When vm comes back, the agents do so spread over this
	// time, and not all at once.
	lastRetry = 30 * time.Second
	// leastWait is between two signs, whatever vm says.
	leastWait = time.Second
)

// pace says when the next sign of life is due.
type pace struct {
	random   func(below time.Duration) time.Duration
	failures int
}

// after is the wait after a sign that vm wants to be followed by another in every, or that did not arrive: full jitter over a
// time that doubles. Signs that arrive come up to a tenth early, so that agents that began together do not stay together.
func (p *pace) after(every time.Duration, err error) time.Duration {
	if err == nil {
		p.failures = 0
		every = max(every, leastWait)
		return every - p.random(every/10+1)
	}
	bound := min(firstRetry<<min(p.failures, 10), lastRetry)
	p.failures++
	return 1 + p.random(bound)
}

// keepSigning gives signs of life until ctx ends.
func keepSigning(ctx context.Context, sign func(context.Context) (time.Duration, error), p *pace, log *slog.Logger) {
	for ctx.Err() == nil {
		every, err := sign(ctx)
		if err != nil && ctx.Err() == nil {
			log.Warn("sign of life", "err", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(p.after(every, err)):
		}
	}
}
