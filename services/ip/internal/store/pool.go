package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	querypb "slipway.dev/proto/query/v1"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/query"
)

// Pool is a set of ranges and how full they are. A total is nil when the pool has no range of the family.
type Pool struct {
	ID             int32
	Name, Note     string
	Account        *int32 // the only one that it serves
	Total4, Total6 *int64
	Used4, Used6   int64
	Clusters       []Cluster
}

// Cluster is a cluster that takes addresses from a pool, and by which of its interfaces.
type Cluster struct {
	ID        int32  `json:"id"`
	Interface int32  `json:"interface"`
	Name      string `json:"name"`
}

// pools counts what is not free, which has an index of its own; a gateway inside a range is no address to give.
var pools = query.List{
	From: "pool p",
	Columns: `p.id, p.name, p.note, p.account_id AS account, (
		SELECT coalesce(jsonb_agg(jsonb_build_object('id', c.cluster_id, 'interface', c.interface, 'name', c.name)
			ORDER BY c.cluster_id), '[]') FROM pool_cluster c WHERE c.pool_id = p.id) AS clusters, ` + fill(4) + `, ` + fill(6),
	LastNotify: lastChange,
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

func fill(family int) string {
	return fmt.Sprintf(`(
		SELECT sum(r.usable)::bigint - (
			SELECT count(*) FROM address a WHERE a.pool_id = p.id AND a.state IN ('gateway', 'special') AND family(a.ip) = %[1]d)
		FROM pool_range r WHERE r.pool_id = p.id AND family(r.first) = %[1]d) AS total%[1]d, (
		SELECT count(*) FROM address a
		WHERE a.pool_id = p.id AND a.state IN ('reserved', 'assigned', 'quarantined') AND family(a.ip) = %[1]d) AS used%[1]d`, family)
}

// Pools lists pools.
func (s *Store) Pools(ctx context.Context, q *querypb.Query) (query.Rows[Pool], error) {
	return query.Read[Pool](ctx, s.lists, pools, q, query.Scope{})
}

// Pool reads one pool.
func (s *Store) Pool(ctx context.Context, id int32) (Pool, error) {
	rows, err := s.pool.Query(ctx, pools.Row(`p.id = $1`), id)
	if err != nil {
		return Pool{}, err
	}
	p, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[Pool])
	if errors.Is(err, pgx.ErrNoRows) {
		return p, noPool(id)
	}
	return p, err
}

// CreatePool inserts an empty pool.
func (t Tx) CreatePool(ctx context.Context, name, note string, account int32) (id int32, err error) {
	err = t.QueryRow(ctx, `
		INSERT INTO pool (name, note, account_id) VALUES ($1, $2, nullif($3, 0)) RETURNING id`, name, note, account).Scan(&id)
	return id, err
}

// UpdatePool changes what is not nil; account 0 opens the pool to all.
func (t Tx) UpdatePool(ctx context.Context, id int32, name, note *string, account *int32) error {
	tag, err := t.Exec(ctx, `
		UPDATE pool SET name = coalesce($2, name), note = coalesce($3, note),
			account_id = nullif(coalesce($4, account_id, 0), 0) WHERE id = $1`, id, name, note, account)
	if err == nil && tag.RowsAffected() == 0 {
		return noPool(id)
	}
	return err
}

// DeletePool removes a pool and its ranges, when no address of them is in use.
func (t Tx) DeletePool(ctx context.Context, id int32) error {
	err := t.QueryRow(ctx, `SELECT id FROM pool WHERE id = $1 FOR UPDATE`, id).Scan(&id)
	if errors.Is(err, pgx.ErrNoRows) {
		return noPool(id)
	}
	if err != nil {
		return err
	}
	rows, err := t.Query(ctx, `SELECT id FROM pool_range WHERE pool_id = $1 ORDER BY id`, id)
	if err != nil {
		return err
	}
	ranges, err := pgx.CollectRows(rows, pgx.RowTo[int32])
	if err != nil {
		return err
	}
	for _, r := range ranges {
		if err := t.DeleteRange(ctx, r); err != nil {
			return err
		}
	}
	if _, err = t.Exec(ctx, `DELETE FROM pool WHERE id = $1`, id); err != nil {
		return err
	}
	return t.bound(ctx, id, nil)
}

// SetPoolClusters makes list the clusters of a pool.
func (t Tx) SetPoolClusters(ctx context.Context, id int32, clusters []Cluster) error {
	err := t.QueryRow(ctx, `SELECT id FROM pool WHERE id = $1 FOR NO KEY UPDATE`, id).Scan(&id)
	if errors.Is(err, pgx.ErrNoRows) {
		return noPool(id)
	}
	if err != nil {
		return err
	}
	if _, err := t.Exec(ctx, `DELETE FROM pool_cluster WHERE pool_id = $1`, id); err != nil {
		return err
	}
	for _, c := range clusters {
		_, err := t.Exec(ctx, `
			INSERT INTO pool_cluster (pool_id, cluster_id, interface, name)
			VALUES ($1, $2, $3, $4)`, id, c.ID, c.Interface, c.Name)
		if err != nil {
			return err
		}
	}
	return t.bound(ctx, id, clusters)
}

func noPool(id int32) error { return fault.NotFound.With("no pool %d", id) }
