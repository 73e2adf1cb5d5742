package disk

import (
	"context"

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
