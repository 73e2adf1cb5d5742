package pool

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	ippb "slipway.dev/proto/ip/v3"
	querypb "slipway.dev/proto/query/v1"

	"slipway.dev/pkg/query"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/ip/internal/network"
	"slipway.dev/services/ip/internal/schema"
)

// row is a pool and how full it is. A total is nil when the pool has no range of the family.
type row struct {
	ID             int32
	Name, Note     string
	Account        *int32 // the only account that the pool serves; nil: all accounts
	Total4, Total6 *int64
	Used4, Used6   int64
	Clusters       []cluster
}

// pools lists pools. It counts the addresses that are not free, because those have an index; a gateway does not count.
var pools = query.List{
	From: "pool p",
	Columns: `p.id, p.name, p.note, p.account_id AS account, (
		SELECT coalesce(jsonb_agg(jsonb_build_object('id', c.cluster_id, 'interface', c.interface, 'name', c.name)
			ORDER BY c.cluster_id), '[]') FROM pool_cluster c WHERE c.pool_id = p.id) AS clusters, ` + fill(4) + `, ` + fill(6),
	LastNotify: schema.LastNotify,
	Fields: map[string]query.Field{
		"id":      {SQL: "p.id", Type: query.Int},
		"name":    {SQL: "p.name", Type: query.Text},
		"note":    {SQL: "p.note", Type: query.Text},
		"account": {SQL: "p.account_id", Type: query.Int, Null: true},
		"cluster": {
			SQL: "c.cluster_id", Type: query.Int, Each: "pool_cluster c WHERE c.pool_id = p.id",
		},
	},
}

// fill returns the columns that count the addresses of a family.
func fill(family int) string {
	return fmt.Sprintf(`(
		SELECT sum(r.usable)::bigint - (
			SELECT count(*) FROM address a WHERE a.pool_id = p.id AND a.state IN ('gateway', 'special') AND family(a.ip) = %[1]d)
		FROM pool_range r WHERE r.pool_id = p.id AND family(r.first) = %[1]d) AS total%[1]d, (
		SELECT count(*) FROM address a
		WHERE a.pool_id = p.id AND a.state IN ('reserved', 'assigned', 'quarantined') AND family(a.ip) = %[1]d) AS used%[1]d`, family)
}

// list returns the pools that q selects.
func list(ctx context.Context, db *unit.DB, q *querypb.Query) (query.Rows[row], error) {
	return query.Read[row](ctx, db.Lists, pools, q, query.Scope{})
}

// get returns one pool.
func get(ctx context.Context, db *unit.DB, id int32) (row, error) {
	rows, err := db.Query(ctx, pools.Row(`p.id = $1`), id)
	if err != nil {
		return row{}, err
	}
	p, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[row])
	if errors.Is(err, pgx.ErrNoRows) {
		return p, missing(id)
	}
	return p, err
}

// Check returns a fault when there is no such pool.
func Check(ctx context.Context, db *unit.DB, id int32) error {
	_, err := get(ctx, db, id)
	return err
}

// count counts the addresses of a pool; family 0 counts both families.
func count(ctx context.Context, db *unit.DB, id, family int32) (*ippb.Stats, error) {
	return network.Count(ctx, db, `SELECT id FROM pool WHERE id = $1`, `r.pool_id = $1 AND $2 IN (0, family(r.first))`, id, family, missing(id))
}

// rangeRow is a range as lists show it.
type rangeRow struct {
	ID, PoolID, NetworkID int32
	Name                  string
}

var ranges = query.List{
	From: "pool_range r", Columns: "r.id, r.pool_id, r.network_id, r.name", LastNotify: schema.LastNotify,
	Fields: map[string]query.Field{
		"id":      {SQL: "r.id", Type: query.Int},
		"name":    {SQL: "r.name", Type: query.Text},
		"ippool":  {SQL: "r.pool_id", Type: query.Int},
		"ipnet":   {SQL: "r.network_id", Type: query.Int},
		"network": {SQL: "r.network_id", Type: query.Int},
		"family":  {SQL: "family(r.first)", Type: query.Int},
	},
}

// listRanges returns the ranges that q selects, of all pools.
func listRanges(ctx context.Context, db *unit.DB, q *querypb.Query) (query.Rows[rangeRow], error) {
	return query.Read[rangeRow](ctx, db.Lists, ranges, q, query.Scope{})
}
