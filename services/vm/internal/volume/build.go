package volume

import (
	"context"
	"errors"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"slipway.dev/pkg/pg"
)

// lying is a disk without a host, as its node must know it.
type lying struct {
	Place    uuid.UUID
	Name     string
	SizeMiB  int32
	Template string
	Node     uuid.UUID
	Endpoint string // of the agent
}

// locate reads a disk without a host.
func locate(ctx context.Context, db pg.DB, id int32) (l lying, err error) {
	err = db.QueryRow(ctx, `
		SELECT d.uuid, d.name, d.size_mib, d.template, n.uuid, n.endpoint FROM disk d JOIN node n ON n.id = d.node_id WHERE d.id = $1`, id).
		Scan(&l.Place, &l.Name, &l.SizeMiB, &l.Template, &l.Node, &l.Endpoint)
	if errors.Is(err, pgx.ErrNoRows) {
		return l, pg.Missing("disk", id)
	}
	return l, err
}

// livesOn reports whether an account has a host on a node.
func livesOn(ctx context.Context, db pg.DB, account, node int32) (yes bool, err error) {
	err = db.QueryRow(ctx, `SELECT EXISTS (SELECT FROM host WHERE account_id = $1 AND node_id = $2)`, account, node).Scan(&yes)
	return yes, err
}
