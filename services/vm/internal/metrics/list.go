package metrics

import (
	"context"

	"github.com/google/uuid"

	"slipway.dev/pkg/pg"
	"slipway.dev/pkg/unit"
)

// machine returns the UUID of a host of owner. Owner 0 has all hosts.
func machine(ctx context.Context, db *unit.DB, id, owner int32) (uuid.UUID, error) {
	rows, err := db.Query(ctx, `SELECT uuid FROM host WHERE id = $1 AND ($2 = 0 OR account_id = $2)`, id, owner)
	h, err := pg.One[struct{ UUID uuid.UUID }](rows, err, pg.Missing("host", id))
	return h.UUID, err
}
