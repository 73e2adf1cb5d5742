package work

import (
	"context"
	"log/slog"
	"time"

	"slipway.dev/services/ip/internal/store"
)

const sweeping = 5 * time.Second

// Sweep frees addresses whose reservation lapsed or whose quarantine ended, until ctx ends.
func Sweep(ctx context.Context, s *store.Store, log *slog.Logger) error {
	tick := time.NewTicker(sweeping)
	defer tick.Stop()
	for {
		var n int
		err := s.InTx(ctx, func(tx store.Tx) (err error) {
			n, err = tx.Sweep(ctx)
			return err
		})
		if err != nil && ctx.Err() == nil {
			log.Warn("addresses that are due stay for now", "err", err)
		}
		if err == nil && n > 0 {
			continue // there may be more
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}
