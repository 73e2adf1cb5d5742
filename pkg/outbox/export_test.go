package outbox

import (
	"context"
	"time"
)

// Republish calls republish, which no program uses yet.
func (r *Relay) Republish(ctx context.Context, since time.Time) (int, error) {
	return r.republish(ctx, since)
}
