package pool

import (
	"context"
	"errors"
	"strconv"

	"github.com/jackc/pgx/v5"

	authpb "slipway.dev/proto/auth/v4"
	ippb "slipway.dev/proto/ip/v3"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/unit"
)

// create inserts an empty pool.
func create(ctx context.Context, tx *unit.Tx, name, note string, account int32) (id int32, err error) {
	if err := checkAccount(ctx, tx, account); err != nil {
		return 0, err
	}
	err = tx.QueryRow(ctx, `
		INSERT INTO pool (name, note, account_id) VALUES ($1, $2, nullif($3, 0)) RETURNING id`, name, note, account).Scan(&id)
	return id, err
}

// update changes what is not nil; account 0 opens the pool to all accounts.
func update(ctx context.Context, tx *unit.Tx, id int32, name, note *string, account *int32) error {
	if account != nil {
		if err := checkAccount(ctx, tx, *account); err != nil {
			return err
		}
	}
	tag, err := tx.Exec(ctx, `
		UPDATE pool SET name = coalesce($2, name), note = coalesce($3, note),
			account_id = nullif(coalesce($4, account_id, 0), 0) WHERE id = $1`, id, name, note, account)
	if err == nil && tag.RowsAffected() == 0 {
		return missing(id)
	}
	return err
}

// lockAccounts makes units of work that give pools to accounts wait for those that take pools from deleted accounts.
func lockAccounts(ctx context.Context, tx *unit.Tx) error { return tx.Lock(ctx, "accounts of pools") }

// checkAccount refuses an account that was deleted; 0 is no account.
func checkAccount(ctx context.Context, tx *unit.Tx, account int32) error {
	if account == 0 {
		return nil
	}
	if err := lockAccounts(ctx, tx); err != nil {
		return err
	}
	var left bool
	err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM account_left WHERE account_id = $1)`, account).Scan(&left)
	if err == nil && left {
		return noAccount(account)
	}
	return err
}

// AccountDeleted gives the pools of a deleted account to its heir, or to the heir's heir. A second delivery changes
// nothing.
func AccountDeleted(ctx context.Context, tx *unit.Tx, u *authpb.UserDeleted) error {
	if u.GetHeir() == 0 {
		return nil // said by a version without heirs: the pools go on to serve the hosts that are there
	}
	if err := lockAccounts(ctx, tx); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, `
		INSERT INTO account_left (account_id, heir) VALUES ($1, $2) ON CONFLICT (account_id) DO NOTHING`, u.GetId(), u.GetHeir())
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `
		WITH RECURSIVE line AS (
			SELECT heir, 0 AS n FROM account_left WHERE account_id = $1
			UNION ALL SELECT l.heir, n + 1 FROM line JOIN account_left l ON l.account_id = line.heir WHERE n < 1000)
		UPDATE pool SET account_id = (SELECT heir FROM line ORDER BY n DESC LIMIT 1) WHERE account_id = $1`, u.GetId())
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
