package cluster

import (
	"context"

	querypb "slipway.dev/proto/query/v1"

	"slipway.dev/pkg/pg"
	"slipway.dev/pkg/query"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/vm/internal/listing"
)

// item is a cluster as lists show it.
type item struct {
	ID             int32
	Name           string
	DomainTemplate string   `db:"domain_template"`
	DNS            []string `db:"dns_servers"`
	Overselling    float64
	Nodes          int32
	Hosts          int32
	OwnHosts       int32 `db:"own_hosts"` // of the caller's account
	Pools          []int32
	AntiSpoofing   bool  `db:"anti_spoofing"`
	CPUs           int32 `db:"cpus"`
	CPUsUsed       int32 `db:"cpus_used"`
	RAM            int32
	RAMUsed        int32 `db:"ram_used"`
	Storage        int32
	StorageUsed    int32 `db:"storage_used"`
}

// clusterList has the caller's account as the first argument of its scope.
var clusterList = query.List{
	From: "cluster c",
	Joins: []query.Join{{Alias: "v", SQL: `CROSS JOIN LATERAL (
		SELECT count(*)::int AS nodes, ` + sum("n.cpu_number") + ` AS cpus, ` + sum("n.cpu_allocated") + ` AS cpus_used,
		       ` + sum("n.ram_mib") + ` AS ram, ` + sum("n.ram_allocated") + ` AS ram_used,
		       ` + sum("n.storage_mib") + ` AS storage, ` + sum("n.storage_allocated") + ` AS storage_used
		FROM node n WHERE n.cluster_id = c.id) v`}},
	Columns: `c.id, c.name, c.domain_template, c.dns_servers, c.overselling, c.anti_spoofing,
		v.nodes, v.cpus, v.cpus_used, v.ram, v.ram_used, v.storage, v.storage_used,
		(SELECT coalesce(sum(h.n), 0)::int FROM host_count_of h WHERE h.cluster_id = c.id AND h.account_id = $1) AS own_hosts,
		(SELECT coalesce(sum(h.n), 0)::int FROM host_count h WHERE h.cluster_id = c.id) AS hosts,
		ARRAY(SELECT p.pool_id FROM cluster_pool p WHERE p.cluster_id = c.id ORDER BY 1) AS pools`,
	LastNotify: listing.Now,
	Fields: map[string]query.Field{
		"id":   {SQL: "c.id", Type: query.Int},
		"name": {SQL: "c.name", Type: query.Text},
	},
}

// sum returns the SQL of a sum over the nodes of a cluster, which is no more than an answer can show.
func sum(column string) string { return `least(coalesce(sum(` + column + `), 0), 2147483647)::int` }

// scopeOf is every row, with the account of the caller as an argument.
func scopeOf(account int32) query.Scope {
	return query.Scope{SQL: "$1::int IS NOT NULL", Args: []any{account}}
}

// page returns a page of the clusters as an account sees them.
func page(ctx context.Context, db *unit.DB, q *querypb.Query, account int32) (query.Rows[item], error) {
	return query.Read[item](ctx, db.Lists, clusterList, q, scopeOf(account))
}

// find returns one cluster as an account sees it.
func find(ctx context.Context, db *unit.DB, id, account int32) (item, error) {
	rows, err := db.Query(ctx, clusterList.Row(`c.id = $2`), account, id)
	return pg.One[item](rows, err, pg.Missing("cluster", id))
}
