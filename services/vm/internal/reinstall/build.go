package reinstall

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"slipway.dev/pkg/pg"
	"slipway.dev/pkg/unit"
)

// read reads a locked host with an OS. OSes for administrators only are seen if all is set.
func read(ctx context.Context, tx *unit.Tx, host, os int32, all bool) (t target, err error) {
	err = tx.QueryRow(ctx, `
		SELECT coalesce(o.id, 0), coalesce(o.state = 'active', false), coalesce(x.sha256, ''), coalesce(x.min_ram_mib, 0),
			coalesce(x.min_disk_mib, 0), d.id, d.name, d.size_mib, h.ram_mib
		FROM host h
		LEFT JOIN os o ON o.id = $2 AND ($3 OR NOT o.adminonly)
		LEFT JOIN os_node x ON x.os_id = o.id AND x.node_id = h.node_id
		JOIN LATERAL (SELECT id, name, size_mib FROM disk WHERE host_id = h.id ORDER BY boot_order, id LIMIT 1) d ON true
		WHERE h.id = $1`, host, os, all).Scan(&t.OS, &t.Ready, &t.SHA256, &t.MinRAM, &t.MinDisk, &t.Disk, &t.Name, &t.Size, &t.RAM)
	if errors.Is(err, pgx.ErrNoRows) {
		return t, pg.Missing("host", host)
	}
	return t, err
}
