package audit

import (
	"context"
	"encoding/hex"
	"log/slog"
	"time"

	"slipway.dev/pkg/lead"
)

// Linker appends records to the audit chain. One of all processes works at a time. Calls do not wait for it: a chain
// that they had to lock would let through one login after the other.
type Linker struct {
	log   *slog.Logger
	wake  chan struct{}
	noted time.Time
}

const (
	linking   = 500 * time.Millisecond // for records of other processes
	gathering = 250 * time.Millisecond // between two commits, however many records come
	noting    = time.Minute
)

// NewLinker makes a Linker.
func NewLinker(log *slog.Logger) *Linker { return &Linker{log: log, wake: make(chan struct{}, 1)} }

// Poke makes the linker look at once. It never blocks.
func (s *Linker) Poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Duty is the linker's work, for the leader of auth's schema.
func (s *Linker) Duty() lead.Duty { return lead.Duty{Name: "audit chain", Run: s.lead} }

func (s *Linker) lead(ctx context.Context, l *lead.Leader) error {
	tick := time.NewTicker(linking)
	defer tick.Stop()
	for {
		last, n, err := link(ctx, l)
		if err != nil {
			return err
		}
		l.Healthy()
		if n > 0 {
			// The log is outside of the database: an attacker who cuts off the end of the chain cannot change it.
			if time.Since(s.noted) > noting {
				s.noted = time.Now()
				s.log.Info("audit chain", "seq", last.seq, "hash", hex.EncodeToString(last.hash))
			}
			select { // records that come meanwhile are linked in one commit
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(gathering):
			}
			continue
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.wake:
		case <-tick.C:
		}
	}
}
