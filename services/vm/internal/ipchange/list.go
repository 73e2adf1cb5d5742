package ipchange

import (
	"context"

	"github.com/google/uuid"

	"slipway.dev/pkg/pg"
	"slipway.dev/pkg/unit"
)

// target is the host that a request changes, as it was before the unit of work.
type target struct {
	ID        int32
	UUID      uuid.UUID
	ClusterID int32 `db:"cluster_id"`
	AccountID int32 `db:"account_id"`
}

// find returns one host of owner, of all for owner 0.
func find(ctx context.Context, db *unit.DB, id, owner int32) (target, error) {
	rows, err := db.Query(ctx, `
		SELECT id, uuid, cluster_id, account_id FROM host WHERE id = $1 AND ($2 = 0 OR account_id = $2)`, id, owner)
	return pg.One[target](rows, err, pg.Missing("host", id))
}
