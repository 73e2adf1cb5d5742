package address

import (
	"context"
	"log/slog"
	"time"

	"slipway.dev/pkg/unit"
)

// interval is the time between two sweeps.
const interval = 5 * time.Second

// Sweep frees addresses whose reservation lapsed or whose quarantine ended, until ctx ends.
func Sweep(ctx context.Context, db *unit.DB, log *slog.Logger) error {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		var n int
		err := db.InTx(ctx, func(tx *unit.Tx) (err error) {
			n, err = freeDue(ctx, tx)
			return err
		})
		if err != nil && ctx.Err() == nil {
			log.Warn("free addresses that are due", "err", err)
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
