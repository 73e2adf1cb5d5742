package audit

import (
	"context"
	"encoding/hex"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"slipway.dev/pkg/pg"
)

// Linker appends records to the audit chain. One of all processes works at a time. Calls do not wait for it: a chain
// that they had to lock would let through one login after the other.
type Linker struct {
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

// NewLinker makes a Linker.
func NewLinker(pool *pgxpool.Pool, log *slog.Logger) *Linker {
	return &Linker{pool: pool, log: log, wake: make(chan struct{}, 1)}
}

// Poke makes the linker look at once. It never blocks.
func (s *Linker) Poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Run links until ctx ends.
func (s *Linker) Run(ctx context.Context) error {
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

func (s *Linker) lead(ctx context.Context, conn *pgxpool.Conn) error {
	tick := time.NewTicker(linking)
	defer tick.Stop()
	for {
		last, n, err := link(ctx, conn)
		if err != nil {
			return err
		}
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
