package auth

import (
	"context"
	"encoding/hex"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"slipway.dev/pkg/pg"
	"slipway.dev/services/auth/internal/store"
)

// linker gives records their place in the audit chain. One of all processes works at a time. Calls do not wait for it: a chain
// that they had to lock would let through one login after the other.
type linker struct {
	pool  *pgxpool.Pool
	log   *slog.Logger
	wake  chan struct{}
	noted time.Time
}

const (
	linking   = 500 * time.Millisecond // for records of other processes
	gathering = 250 * time.Millisecond // between two commits, however many records come
	noting    = time.Minute
)

func newLinker(pool *pgxpool.Pool, log *slog.Logger) *linker {
	return &linker{pool: pool, log: log, wake: make(chan struct{}, 1)}
}

// poke makes the linker look at once. It never blocks.
func (s *linker) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Run links until ctx ends.
func (s *linker) Run(ctx context.Context) error {
	for {
		err := pg.Lead(ctx, s.pool, "audit chain", s.lead)
		if ctx.Err() != nil {
			return nil
		}
		s.log.Warn("the audit chain waits", "err", err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(linking + rand.N(linking)): // #nosec G404 -- no secret: it spreads out repeats
		}
	}
}

func (s *linker) lead(ctx context.Context, conn *pgxpool.Conn) error {
	tick := time.NewTicker(linking)
	defer tick.Stop()
	for {
		head, n, err := store.Link(ctx, conn)
		if err != nil {
			return err
		}
		if n > 0 {
			// The log is outside of the database: who cuts off the end of the chain cannot take this back.
			if time.Since(s.noted) > noting {
				s.noted = time.Now()
				s.log.Info("audit chain", "seq", head.Seq, "hash", hex.EncodeToString(head.Hash))
			}
			select { // those that come meanwhile are linked in one commit
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
