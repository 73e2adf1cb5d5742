package disk

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"slipway.dev/pkg/pg"
)

// Sold is a disk as far as its size is concerned.
type Sold struct {
	ID      int32
	Host    int32
	Name    string // of its file
	Label   string // as clients read it
	SizeMiB int32  // what the host counts for
}

// Find returns a disk of a host of owner; owner 0 has all hosts. It locks nothing: the lock of the host protects its disks.
func Find(ctx context.Context, db pg.DB, id, owner int32) (d Sold, err error) {
	err = db.QueryRow(ctx, `
		SELECT d.id, d.host_id, d.name, coalesce(nullif(d.label, ''), d.name), d.size_mib
		FROM disk d JOIN host h ON h.id = d.host_id WHERE d.id = $1 AND ($2 = 0 OR h.account_id = $2)`, id, owner).
		Scan(&d.ID, &d.Host, &d.Name, &d.Label, &d.SizeMiB)
	if errors.Is(err, pgx.ErrNoRows) {
		return d, pg.Missing("disk", id)
	}
	return d, err
}
