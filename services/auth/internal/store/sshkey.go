package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/pg"
	"slipway.dev/pkg/query"
	"slipway.dev/services/auth/internal/domain"
)

var sshKeys = query.List{Fields: map[string]query.Field{"id": {SQL: "id", Type: query.Int}}}

// SSHKeys lists the keys of an account that exists.
func (s *Store) SSHKeys(ctx context.Context, account int32) (Listing[domain.SSHKey], error) {
	if _, err := s.Account(ctx, account); err != nil {
		return Listing[domain.SSHKey]{}, err
	}
	p, err := sshKeys.Compile(nil, account)
	if err != nil {
		return Listing[domain.SSHKey]{}, fmt.Errorf("ssh keys: %w", err)
	}
	return list[domain.SSHKey](ctx, s.pool, p, "id, name, public_key, fingerprint", "FROM ssh_key", "account_id = $1")
}

// AddSSHKey stores a key of an account.
func (t Tx) AddSSHKey(ctx context.Context, account int32, k domain.SSHKey) (id int32, err error) {
	if _, err := t.LockAccount(ctx, account); err != nil {
		return 0, err
	}
	err = t.tx.QueryRow(ctx, `
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
	tag, err := t.tx.Exec(ctx, `DELETE FROM ssh_key WHERE account_id = $1 AND id = $2`, account, id)
	if err == nil && tag.RowsAffected() == 0 {
		return fault.NotFound.With("no such key")
	}
	return err
}
