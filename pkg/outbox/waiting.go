package outbox

import (
	"context"
	"fmt"
	"time"

	"slipway.dev/pkg/pg"
)

// Waiting returns how many events are not on the bus yet, and the age of the oldest of them.
func Waiting(ctx context.Context, db pg.DB) (n int, age time.Duration, err error) {
	err = db.QueryRow(ctx, `
		SELECT count(*)::integer, coalesce(now() - min(occurred_at), interval '0')
		FROM outbox WHERE sent_at IS NULL`).Scan(&n, &age)
	if err != nil {
		err = fmt.Errorf("events that wait: %w", err)
	}
	return n, age, err
}
