package console

import (
	"context"

	"github.com/google/uuid"

	"slipway.dev/pkg/pg"
	"slipway.dev/pkg/unit"
)

// machine says where the console of a host is.
type machine struct {
	UUID     uuid.UUID
	Node     uuid.UUID
	Endpoint string
}

// find returns the machine of a host of owner. Owner 0 has all hosts.
func find(ctx context.Context, db *unit.DB, id, owner int32) (machine, error) {
	rows, err := db.Query(ctx, `
		SELECT h.uuid, n.uuid AS node, n.endpoint FROM host h JOIN node n ON n.id = h.node_id
		WHERE h.id = $1 AND ($2 = 0 OR h.account_id = $2)`, id, owner)
	return pg.One[machine](rows, err, pg.Missing("host", id))
}
