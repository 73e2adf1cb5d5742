package store

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	querypb "slipway.dev/proto/query/v1"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/pg"
	"slipway.dev/pkg/query"
	"slipway.dev/services/auth/internal/domain"
)

var sshKeys = query.List{
	From: "ssh_key k", Columns: "k.id, k.name, k.public_key, k.fingerprint", LastNotify: lastChange,
	Fields: map[string]query.Field{
		"id":          {SQL: "k.id", Type: query.Int},
		"name":        {SQL: "k.name", Type: query.Text},
		"ssh_pub_key": {SQL: "k.public_key", Type: query.Text},
	},
}

// SSHKeys lists the keys of an account that exists.
func (s *Store) SSHKeys(ctx context.Context, q *querypb.Query, account int32) (query.Rows[domain.SSHKey], error) {
	if _, err := s.Account(ctx, account); err != nil {
		return query.Rows[domain.SSHKey]{}, err
	}
	return query.Read[domain.SSHKey](ctx, s.lists, sshKeys, q, query.Scope{SQL: "k.account_id = $1", Args: []any{account}})
}

// KeysOf returns all keys of an account that exists.
func (s *Store) KeysOf(ctx context.Context, account int32) ([]domain.SSHKey, error) {
	rows, err := s.pool.Query(ctx, `
		SELECT coalesce(k.id, 0), coalesce(k.name, ''), coalesce(k.public_key, '')
		FROM user_account a LEFT JOIN ssh_key k ON k.account_id = a.id WHERE a.id = $1 ORDER BY k.id`, account)
	if err != nil {
		return nil, err
	}
	keys, err := pgx.CollectRows(rows, func(r pgx.CollectableRow) (k domain.SSHKey, err error) {
		return k, r.Scan(&k.ID, &k.Name, &k.PublicKey)
	})
	switch {
	case err != nil:
		return nil, err
	case len(keys) == 0:
		return nil, fault.NotFound.With("no such account")
	case keys[0].ID == 0:
		return nil, nil
	}
	return keys, nil
}

// AddSSHKey stores a key of an account.
func (t Tx) AddSSHKey(ctx context.Context, account int32, k domain.SSHKey) (id int32, err error) {
	if _, err := t.LockAccount(ctx, account); err != nil {
		return 0, err
	}
	err = t.QueryRow(ctx, `
		INSERT INTO ssh_key (account_id, name, public_key, fingerprint)
		SELECT $1, $2, $3, $4 WHERE (SELECT count(*) FROM ssh_key WHERE account_id = $1) < $5
		RETURNING id`, account, k.Name, k.PublicKey, k.Fingerprint, domain.MaxSSHKeys).Scan(&id)
	switch {
	case pg.IsUnique(err, "ssh_key_once"):
		return 0, fault.Conflict.With("the account has this key already").On("ssh_pub_key")
	case errors.Is(err, pgx.ErrNoRows):
		return 0, domain.ErrTooManyKeys
	}
	return id, err
}

// DeleteSSHKey removes a key of an account.
func (t Tx) DeleteSSHKey(ctx context.Context, account, id int32) error {
	tag, err := t.Exec(ctx, `DELETE FROM ssh_key WHERE account_id = $1 AND id = $2`, account, id)
	if err == nil && tag.RowsAffected() == 0 {
		return fault.NotFound.With("no such key")
	}
	return err
}
