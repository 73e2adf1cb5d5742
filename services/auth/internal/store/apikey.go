package store

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	querypb "slipway.dev/proto/query/v1"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/identity"
	"slipway.dev/pkg/query"
	"slipway.dev/services/auth/internal/domain"
)

const (
	apiKeyColumns = `id, account_id, description AS name, hint, scopes, cidrs, expires_at, created_at, last_used, ip,
		coalesce(expires_at <= now(), false) AS expired`
	apiKeysOf = `kind = 'apikey' AND ($1::integer = 0 OR account_id = $1)`
)

var apiKeys = query.List{
	From: "token t", Columns: apiKeyColumns, LastNotify: lastChange,
	Fields: map[string]query.Field{
		"id":         {SQL: "t.id", Type: query.Int},
		"account_id": {SQL: "t.account_id", Type: query.Int},
		"name":       {SQL: "t.description", Type: query.Text},
		"hint":       {SQL: "t.hint", Type: query.Text},
		"expires_at": {SQL: "t.expires_at", Type: query.Time, Null: true},
		"expired":    {SQL: "coalesce(t.expires_at <= now(), false)", Type: query.Bool},
		"created":    {SQL: "t.created_at", Type: query.Time},
		"last_used":  {SQL: "nullif(t.last_used, t.created_at)", Type: query.Time, Null: true},
	},
}

// APIKeys lists the API keys of an account; 0: of all.
func (s *Store) APIKeys(ctx context.Context, q *querypb.Query, account int32) (query.Rows[domain.APIKey], error) {
	return query.Read[domain.APIKey](ctx, s.lists, apiKeys, q, query.Scope{SQL: apiKeysOf, Args: []any{account}})
}

// APIKey reads an API key of an account; 0: of any.
func (s *Store) APIKey(ctx context.Context, account, id int32) (domain.APIKey, error) {
	rows, err := s.pool.Query(ctx, `SELECT `+apiKeyColumns+` FROM token WHERE `+apiKeysOf+` AND id = $2`, account, id)
	return apiKey(rows, err)
}

// APIKey loads and locks an API key of an account.
func (t Tx) APIKey(ctx context.Context, account, id int32) (domain.APIKey, error) {
	rows, err := t.Query(ctx, `SELECT `+apiKeyColumns+` FROM token WHERE `+apiKeysOf+` AND id = $2 FOR NO KEY UPDATE`, account, id)
	return apiKey(rows, err)
}

func apiKey(rows pgx.Rows, err error) (domain.APIKey, error) {
	if err != nil {
		return domain.APIKey{}, err
	}
	k, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByNameLax[domain.APIKey])
	if errors.Is(err, pgx.ErrNoRows) {
		return k, fault.NotFound.With("no such API key")
	}
	return k, err
}

// CreateAPIKey stores a key. session is the credential that asks, 0 for none.
func (t Tx) CreateAPIKey(ctx context.Context, k domain.APIKey, session int32, hash []byte) (id int32, err error) {
	state, err := t.LockAccount(ctx, k.AccountID)
	if err != nil {
		return 0, err
	}
	if state != domain.Active {
		return 0, identity.ErrInvalid
	}
	maker, err := t.Maker(ctx, session)
	if err != nil {
		return 0, err
	}
	err = t.QueryRow(ctx, `
		INSERT INTO token (kind, account_id, hash, sliding, description, hint, scopes, cidrs, expires_at, maker)
		SELECT 'apikey', $1, $2, false, $3, $4, $5::text[], $6::cidr[], $7::timestamptz, $8::integer
		WHERE (SELECT count(*) FROM token WHERE account_id = $1 AND kind = 'apikey') < $9
		RETURNING id`,
		k.AccountID, hash, k.Name, k.Hint, k.Scopes, k.CIDRs, k.ExpiresAt, maker, domain.MaxAPIKeys).Scan(&id)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, domain.ErrTooManyAPIKeys
	}
	return id, err
}

// SaveAPIKey stores what may change of a key and tells it.
func (t Tx) SaveAPIKey(ctx context.Context, k domain.APIKey) error {
	_, err := t.Exec(ctx, `
		UPDATE token SET description = $2, scopes = $3, cidrs = $4, expires_at = $5 WHERE id = $1`,
		k.ID, k.Name, k.Scopes, k.CIDRs, k.ExpiresAt)
	if err != nil {
		return err
	}
	return t.weakened(ctx, k)
}

// DeleteAPIKey ends a key with all that it made and tells it. owner is whose it must be, 0 for anybody's.
func (t Tx) DeleteAPIKey(ctx context.Context, owner, id int32) error {
	_, err := t.deleteToken(ctx, owner, "t.id = $2 AND t.kind = 'apikey'", id)
	return err
}

// weakened tells that a key, and what it made, can do less than before.
func (t Tx) weakened(ctx context.Context, k domain.APIKey) error {
	rows, err := t.Query(ctx, `SELECT DISTINCT account_id FROM token WHERE id = $1 OR maker = $1 ORDER BY account_id`, k.ID)
	if err != nil {
		return err
	}
	accounts, err := pgx.CollectRows(rows, pgx.RowTo[int32])
	if err != nil {
		return err
	}
	return t.outdate(ctx, accounts...)
}
