package disk

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"slipway.dev/pkg/unit"
)

// Insert adds the disks of a new host, at the end of the unit of work.
func Insert(ctx context.Context, tx *unit.Tx, host int32, disks []Disk) error {
	for _, d := range disks {
		err := tx.Later(ctx, `
			INSERT INTO disk (host_id, name, size_mib, boot_order, template, label) VALUES ($1, $2, $3, $4, $5, $6)`,
			host, d.Name, d.SizeMiB, d.BootOrder, d.Template, d.Label)
		if err != nil {
			return err
		}
	}
	return nil
}

// Replace gives a disk of a locked host another file, which begins as a template, and returns the name of the old one. What
// clients call the disk stays. It returns "" if the host has no such disk.
func Replace(ctx context.Context, tx *unit.Tx, host, id int32, name, template string) (old string, err error) {
	err = tx.QueryRow(ctx, `
		UPDATE disk d SET name = $3, template = $4, label = CASE d.label WHEN '' THEN d.name ELSE d.label END
		FROM disk was WHERE was.id = d.id AND d.id = $2 AND d.host_id = $1 RETURNING was.name`, host, id, name, template).Scan(&old)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", nil
	}
	return old, err
}
