package network

import (
	"context"

	querypb "slipway.dev/proto/query/v1"

	"slipway.dev/pkg/query"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/ip/internal/schema"
)

var all = query.List{
	From: "network n",
	Columns: columns + `, ` + parentColumn + ` AS parent, (
		SELECT count(*) FROM network x JOIN pool_range r ON r.network_id = x.id JOIN address a ON a.range_id = r.id
		WHERE x.cidr <<= n.cidr AND a.state IN ('reserved', 'assigned', 'quarantined')) AS used`,
	LastNotify: schema.LastNotify,
	Fields: map[string]query.Field{
		"id":      {SQL: "n.id", Type: query.Int},
		"name":    {SQL: "n.cidr::text", Type: query.Text},
		"gateway": {SQL: "n.gateway", Type: query.IP, Null: true},
		"note":    {SQL: "n.note", Type: query.Text},
		"family":  {SQL: "family(n.cidr)", Type: query.Int},
		"type":    {SQL: "n.type", Type: query.Text},
		"vlan":    {SQL: "n.vlan", Type: query.Int, Null: true},
		"parent":  {SQL: parentColumn, Type: query.Int, Null: true},
	},
}

const (
	parentColumn = `(SELECT p.id FROM network p WHERE p.cidr >> n.cidr ORDER BY masklen(p.cidr) DESC LIMIT 1)`
	columns      = `n.id, n.cidr, n.type, n.gateway, n.dns_servers AS dns, n.vlan, n.note`
)

// list returns the networks that q selects.
func list(ctx context.Context, db *unit.DB, q *querypb.Query) (query.Rows[Network], error) {
	return query.Read[Network](ctx, db.Lists, all, q, query.Scope{})
}

// get returns one network.
func get(ctx context.Context, db *unit.DB, id int32) (Network, error) {
	rows, err := db.Query(ctx, all.Row(`n.id = $1`), id)
	if err != nil {
		return Network{}, err
	}
	return one(rows, id)
}
