package host

import (
	"context"

	"github.com/google/uuid"

	"slipway.dev/pkg/pg"
	"slipway.dev/pkg/unit"
)

// whole is a host with its disks and IPv4 addresses, as scripts that move it read it.
type whole struct {
	ID        int32
	UUID      uuid.UUID
	Name      string
	Domain    string
	State     State
	OSID      int32 `db:"os_id"`
	ClusterID int32 `db:"cluster_id"`
	NodeID    int32 `db:"node_id"`
	Endpoint  string
	AccountID int32 `db:"account_id"`
	CPUs      int32 `db:"cpu_number"`
	RAM       int32 `db:"ram_mib"`
	Disks     []wholeDisk
	Addresses []wholeAddress
}

type wholeDisk struct {
	ID        int32  `json:"id"`
	Name      string `json:"name"`
	SizeMiB   int32  `json:"size_mib"`
	BootOrder int32  `json:"boot_order"`
}

type wholeAddress struct {
	Addr string `json:"addr"`
	Pool int32  `json:"pool_id"`
}

// findWhole returns one host of owner, of all for owner 0.
func findWhole(ctx context.Context, db *unit.DB, id, owner int32) (whole, error) {
	rows, err := db.Query(ctx, `
		SELECT h.id, h.uuid, h.name, h.domain, h.state, h.os_id, h.cluster_id, h.node_id, n.endpoint, h.account_id, h.cpu_number, h.ram_mib,
		       (SELECT coalesce(jsonb_agg(v), '[]') FROM (
		            SELECT k.id, coalesce(nullif(k.label, ''), k.name) AS name, coalesce(k.had_mib, k.size_mib) AS size_mib, k.boot_order
		            FROM disk k WHERE k.host_id = h.id ORDER BY k.boot_order, k.id) v) AS disks,
		       (SELECT coalesce(jsonb_agg(v), '[]') FROM (
		            SELECT host(x.addr) AS addr, x.pool_id FROM host_address x
		            WHERE x.host_id = h.id AND x.family = 4 AND x.state <> 'adding' ORDER BY x.position) v) AS addresses
		FROM host h JOIN node n ON n.id = h.node_id
		WHERE h.id = $1 AND ($2 = 0 OR h.account_id = $2)`, id, owner)
	return pg.One[whole](rows, err, pg.Missing("host", id))
}
