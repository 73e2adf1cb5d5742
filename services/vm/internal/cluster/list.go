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
	Pools          []int32
	AntiSpoofing   bool `db:"anti_spoofing"`
}

var clusterList = query.List{
	From: "cluster c",
	Columns: `c.id, c.name, c.domain_template, c.dns_servers, c.overselling, c.anti_spoofing,
		(SELECT count(*)::int FROM node n WHERE n.cluster_id = c.id) AS nodes,
		(SELECT coalesce(sum(h.n), 0)::int FROM host_count h WHERE h.cluster_id = c.id) AS hosts,
		ARRAY(SELECT p.pool_id FROM cluster_pool p WHERE p.cluster_id = c.id ORDER BY 1) AS pools`,
	LastNotify: listing.Now,
	Fields: map[string]query.Field{
		"id":   {SQL: "c.id", Type: query.Int},
		"name": {SQL: "c.name", Type: query.Text},
	},
}

// page returns a page of the clusters.
func page(ctx context.Context, db *unit.DB, q *querypb.Query) (query.Rows[item], error) {
	return query.Read[item](ctx, db.Lists, clusterList, q, query.Scope{})
}

// find returns one cluster.
func find(ctx context.Context, db *unit.DB, id int32) (item, error) {
	rows, err := db.Query(ctx, clusterList.Row(`c.id = $1`), id)
	return pg.One[item](rows, err, pg.Missing("cluster", id))
}
