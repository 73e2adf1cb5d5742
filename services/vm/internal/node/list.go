package node

import (
	"context"
	"time"

	"github.com/google/uuid"

	querypb "slipway.dev/proto/query/v1"

	"slipway.dev/pkg/pg"
	"slipway.dev/pkg/query"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/vm/internal/listing"
)

// item is a node as lists show it.
type item struct {
	ID               int32
	UUID             uuid.UUID
	Name             string
	Endpoint         string
	ClusterID        int32  `db:"cluster_id"`
	Cluster          string `db:"cluster_name"`
	Alive            bool
	Maintenance      bool
	CPUs             int32  `db:"cpu_number"`
	CPUModel         string `db:"cpu_model"`
	CPUAllocated     int32  `db:"cpu_allocated"`
	RAM              int32  `db:"ram_mib"`
	RAMAllocated     int32  `db:"ram_allocated"`
	Storage          int32  `db:"storage_mib"`
	StorageFree      int32  `db:"storage_free_mib"`
	StorageAllocated int32  `db:"storage_allocated"`
	Accel            string
	Kernel           string    `db:"kernel_version"`
	OS               string    `db:"os_version"`
	QEMU             string    `db:"qemu_version"`
	Libvirt          string    `db:"libvirt_version"`
	SeenAt           time.Time `db:"seen_at"`
	Hosts            int32
	Active           int32
	Stopped          int32
	Crashed          int32
	LeastRAM         int32 `db:"least_ram"`
	BreakerOpen      bool  `db:"breaker_open"`
	Overselling      float64
	Bridge           string
}

var nodeList = query.List{
	From: "node n",
	Joins: []query.Join{
		{Alias: "c", SQL: "JOIN cluster c ON c.id = n.cluster_id"},
		{Alias: "v", SQL: `CROSS JOIN LATERAL (
			SELECT count(*)::int AS hosts, (count(*) FILTER (WHERE state = 'active'))::int AS active,
			       (count(*) FILTER (WHERE state = 'stopped'))::int AS stopped, (count(*) FILTER (WHERE state = 'crashed'))::int AS crashed
			FROM host h WHERE h.node_id = n.id) v`},
	},
	Columns: `n.id, n.uuid, n.name, n.endpoint, n.cluster_id, c.name AS cluster_name,
		n.seen_at > now() - ` + silence + ` AS alive, n.maintenance, n.cpu_number, n.cpu_model, n.cpu_allocated, n.ram_mib,
		n.ram_allocated, n.storage_mib, n.storage_free_mib, n.storage_allocated, n.accel, n.kernel_version, n.os_version,
		n.qemu_version, n.libvirt_version, n.seen_at, v.hosts, v.active, v.stopped, v.crashed,
		coalesce((SELECT min(x.min_ram_mib) FROM os_node x WHERE x.node_id = n.id AND x.sha256 <> ''), 0) AS least_ram, n.breaker_opened_at IS NOT NULL AS breaker_open,
		c.overselling, n.bridge`,
	LastNotify: listing.Now,
	Fields: map[string]query.Field{
		"id":               {SQL: "n.id", Type: query.Int},
		"name":             {SQL: "n.name", Type: query.Text},
		"cluster":          {SQL: "n.cluster_id", Type: query.Int},
		"cluster.id":       {SQL: "n.cluster_id", Type: query.Int},
		"cluster.name":     {SQL: "c.name", Type: query.Text, Needs: "c"},
		"maintenance_mode": {SQL: "n.maintenance", Type: query.Bool},
		"internal_name":    {SQL: "n.uuid::text", Type: query.Text},
		"accel":            {SQL: "n.accel", Type: query.Text},
		"state":            {SQL: "CASE WHEN n.seen_at > now() - " + silence + " THEN 'active' ELSE 'unavailable' END", Type: query.Text},
	},
}

// page returns a page of the nodes.
func page(ctx context.Context, db *unit.DB, q *querypb.Query) (query.Rows[item], error) {
	return query.Read[item](ctx, db.Lists, nodeList, q, query.Scope{})
}

// find returns one node.
func find(ctx context.Context, db *unit.DB, id int32) (item, error) {
	rows, err := db.Query(ctx, nodeList.Row(`n.id = $1`), id)
	return pg.One[item](rows, err, pg.Missing("node", id))
}
