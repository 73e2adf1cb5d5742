package host

import (
	"context"
	"time"

	"slipway.dev/pkg/lead"
	"slipway.dev/pkg/unit"
)

const (
	// foldEvery is the time between two looks at the changes of the numbers of hosts.
	foldEvery = time.Second
	// foldAt is how many changes are folded at once: a list adds up fewer in passing.
	foldAt = 500
)

// CountDuty is the duty of the leader that keeps the numbers of hosts cheap to read.
func CountDuty(db *unit.DB) lead.Duty {
	return lead.Duty{Name: "host counts", Run: func(ctx context.Context, l *lead.Leader) error {
		for {
			if err := fold(ctx, db, foldAt); err != nil {
				return err
			}
			l.Healthy()
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(foldEvery):
			}
		}
	}}
}
