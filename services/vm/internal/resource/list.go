package resource

import (
	"context"

	"slipway.dev/pkg/unit"
	"slipway.dev/services/vm/internal/host"
)

// read returns what is known of the node of a host.
func read(ctx context.Context, tx *unit.Tx, h *host.Host) (f facts, err error) {
	err = tx.QueryRow(ctx, `
		SELECT n.features, coalesce((SELECT x.min_ram_mib FROM os_node x WHERE x.node_id = n.id AND x.os_id = $2), 0)
		FROM node n WHERE n.id = $1`, h.NodeID, h.OSID).Scan(&f.Features, &f.MinRAM)
	return f, err
}
