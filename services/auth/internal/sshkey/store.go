package sshkey

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/pg"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/auth/internal/account"
)

// add stores a key of an account.
func add(ctx context.Context, tx *unit.Tx, of int32, k sshKey) (id int32, err error) {
	if _, err := account.Load(ctx, tx, of); err != nil {
		return 0, err
	}
	err = tx.QueryRow(ctx, `
		INSERT INTO ssh_key (account_id, name, public_key, fingerprint)
		SELECT $1, $2, $3, $4 WHERE (SELECT count(*) FROM ssh_key WHERE account_id = $1) < $5
		RETURNING id`, of, k.Name, k.PublicKey, k.Fingerprint, maxKeys).Scan(&id)
	switch {
	case pg.IsUnique(err, "ssh_key_once"):
		return 0, fault.Conflict.With("the account has this key already").On("ssh_pub_key")
	case errors.Is(err, pgx.ErrNoRows):
		return 0, errTooMany
	}
	return id, err
}

// remove removes a key of an account.
func remove(ctx context.Context, tx *unit.Tx, of, id int32) error {
	tag, err := tx.Exec(ctx, `DELETE FROM ssh_key WHERE account_id = $1 AND id = $2`, of, id)
	if err == nil && tag.RowsAffected() == 0 {
		return fault.NotFound.With("no such key")
	}
	return err
}
