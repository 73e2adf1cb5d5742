package rescue

import (
	"context"

	"slipway.dev/pkg/unit"
)

// read reads the rescue system that the node of a locked host holds.
func read(ctx context.Context, tx *unit.Tx, host int32) (s system, err error) {
	err = tx.QueryRow(ctx, `
		SELECT coalesce(x.sha256, ''), coalesce(x.min_ram_mib, 0), coalesce(x.min_disk_mib, 0), h.ram_mib
		FROM host h
		LEFT JOIN LATERAL (
			SELECT n.sha256, n.min_ram_mib, n.min_disk_mib FROM os_node n JOIN os o ON o.id = n.os_id
			WHERE n.node_id = h.node_id AND n.sha256 <> '' AND o.name IN ('rescue', 'tiny') ORDER BY o.name LIMIT 1) x ON true
		WHERE h.id = $1`, host).Scan(&s.SHA256, &s.MinRAM, &s.MinDisk, &s.RAM)
	return s, err
}
