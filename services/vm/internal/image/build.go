package image

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
	"google.golang.org/grpc/codes"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/unit"
)

// errImporting refuses the import of an OS that is being imported, or that every node holds.
var errImporting = fault.New(codes.AlreadyExists, "CONFLICT", "the OS exists already, or is being imported")

// insert adds a template that is being imported. An OS that some node lacks may be imported again: it stays in use.
func insert(ctx context.Context, tx *unit.Tx, i image) (id int32, err error) {
	err = tx.QueryRow(ctx, `
		INSERT INTO os AS o (name, state, os_group, min_ram_mib, min_disk_mib, title) VALUES ($1, 'importing', $2, $3, $4, $5)
		ON CONFLICT (name) DO UPDATE SET name = o.name
		WHERE o.state = 'active'
		  AND EXISTS (SELECT FROM node n WHERE NOT EXISTS (SELECT FROM os_node x WHERE x.os_id = o.id AND x.node_id = n.id))
		RETURNING id`, i.Name, i.Group, i.MinRAM, i.MinDisk, i.Title).Scan(&id)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, errImporting.With("OS %s exists already, or is being imported", i.Name)
	}
	return id, err
}
