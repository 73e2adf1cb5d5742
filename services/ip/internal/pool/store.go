package pool

import (
	"context"
	"errors"
	"strconv"

	"github.com/jackc/pgx/v5"

	ippb "slipway.dev/proto/ip/v3"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/unit"
)

// create inserts an empty pool.
func create(ctx context.Context, tx *unit.Tx, name, note string, account int32) (id int32, err error) {
	err = tx.QueryRow(ctx, `
		INSERT INTO pool (name, note, account_id) VALUES ($1, $2, nullif($3, 0)) RETURNING id`, name, note, account).Scan(&id)
	return id, err
}

// update changes what is not nil; account 0 opens the pool to all accounts.
func update(ctx context.Context, tx *unit.Tx, id int32, name, note *string, account *int32) error {
	tag, err := tx.Exec(ctx, `
		UPDATE pool SET name = coalesce($2, name), note = coalesce($3, note),
			account_id = nullif(coalesce($4, account_id, 0), 0) WHERE id = $1`, id, name, note, account)
	if err == nil && tag.RowsAffected() == 0 {
		return missing(id)
	}
	return err
}

// lock locks a pool against claims that wait, other changes and removal.
func lock(ctx context.Context, tx *unit.Tx, id int32) error {
	return found(tx.QueryRow(ctx, `SELECT id FROM pool WHERE id = $1 FOR NO KEY UPDATE`, id), id)
}

// lockToRemove locks a pool against everything.
func lockToRemove(ctx context.Context, tx *unit.Tx, id int32) error {
	return found(tx.QueryRow(ctx, `SELECT id FROM pool WHERE id = $1 FOR UPDATE`, id), id)
}

// lockToRefer locks a pool against removal.
func lockToRefer(ctx context.Context, tx *unit.Tx, id int32) error {
	return found(tx.QueryRow(ctx, `SELECT id FROM pool WHERE id = $1 FOR KEY SHARE`, id), id)
}

func found(r pgx.Row, id int32) error {
	err := r.Scan(&id)
	if errors.Is(err, pgx.ErrNoRows) {
		return missing(id)
	}
	return err
}

// Lock locks pools in the order of their ids, so that units of work that lock several pools do not wait in a circle.
func Lock(ctx context.Context, tx *unit.Tx, ids []int32) error {
	_, err := tx.Exec(ctx, `SELECT FROM pool WHERE id = ANY($1) ORDER BY id FOR NO KEY UPDATE`, ids)
	return err
}

// remove deletes a locked pool that has no ranges.
func remove(ctx context.Context, tx *unit.Tx, id int32) error {
	if _, err := tx.Exec(ctx, `DELETE FROM pool WHERE id = $1`, id); err != nil {
		return err
	}
	return emitBound(ctx, tx, id, nil)
}

// setClusters replaces the clusters of a pool.
func setClusters(ctx context.Context, tx *unit.Tx, id int32, clusters []cluster) error {
	if err := lock(ctx, tx, id); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, `DELETE FROM pool_cluster WHERE pool_id = $1`, id); err != nil {
		return err
	}
	for _, c := range clusters {
		_, err := tx.Exec(ctx, `
			INSERT INTO pool_cluster (pool_id, cluster_id, interface, name)
			VALUES ($1, $2, $3, $4)`, id, c.ID, c.Interface, c.Name)
		if err != nil {
			return err
		}
	}
	return emitBound(ctx, tx, id, clusters)
}

// emitBound emits which clusters a pool serves. The caller holds the lock of the pool, which keeps the events in order.
func emitBound(ctx context.Context, tx *unit.Tx, pool int32, clusters []cluster) error {
	m := &ippb.PoolBound{Id: pool}
	for _, c := range clusters {
		m.ClusterIds = append(m.ClusterIds, c.ID)
	}
	return tx.Emit(ctx, "ip.v3.pool.bound", "pool/"+strconv.Itoa(int(pool)), m)
}

func missing(id int32) error { return fault.NotFound.With("no pool %d", id) }
