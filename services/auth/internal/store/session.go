package store

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	querypb "slipway.dev/proto/query/v1"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/query"
	"slipway.dev/services/auth/internal/domain"
)

const tokenKind = `CASE WHEN sliding THEN 'session' ELSE 'token' END`

// For statements whose $1 is the default of idle.
var (
	tokenColumns = `id, account_id, ` + tokenKind + ` AS kind, description, expires_at, last_used, created_at, ` + tokenEnds + ` AS valid_until`
	tokenEnds    = `CASE WHEN sliding THEN least(last_used + ` + idle + `, created_at + ` + maxAge + `) ELSE expires_at END`
	tokenLives   = `coalesce(` + tokenEnds + ` > now(), true)`
)

var tokens = query.List{Fields: map[string]query.Field{
	"id":          {SQL: "id", Type: query.Int},
	"kind":        {SQL: tokenKind, Type: query.Text},
	"description": {SQL: "description", Type: query.Text},
	"expires_at":  {SQL: "expires_at", Type: query.Time},
	"last_used":   {SQL: "last_used", Type: query.Time},
	"created":     {SQL: "created_at", Type: query.Time},
}}

// Tokens lists the sessions and tokens of an account that are good now.
func (s *Store) Tokens(ctx context.Context, q *querypb.Query, account int32, ttl time.Duration) (Listing[domain.TokenInfo], error) {
	p, err := tokens.Compile(q, ttl, account)
	if err != nil {
		return Listing[domain.TokenInfo]{}, err
	}
	return list[domain.TokenInfo](ctx, s.pool, p, tokenColumns, "FROM token", "account_id = $2 AND "+tokenLives)
}

// Token reads one token of an account.
func (s *Store) Token(ctx context.Context, account, id int32, ttl time.Duration) (domain.TokenInfo, error) {
	rows, err := s.pool.Query(ctx, `SELECT `+tokenColumns+` FROM token WHERE id = $2 AND account_id = $3`, ttl, id, account)
	if err != nil {
		return domain.TokenInfo{}, err
	}
	i, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[domain.TokenInfo])
	if errors.Is(err, pgx.ErrNoRows) {
		return i, fault.NotFound.With("no such session")
	}
	return i, err
}

// DeleteToken ends a token by its id or its hash and tells it. owner is whose it must be, 0 for anybody's.
func (t Tx) DeleteToken(ctx context.Context, owner, id int32, hash []byte) error {
	var account int32
	err := t.tx.QueryRow(ctx, `
		DELETE FROM token WHERE ($1::integer = 0 OR account_id = $1) AND (id = $2 OR hash = $3)
		RETURNING id, account_id`, owner, id, hash).Scan(&id, &account)
	if errors.Is(err, pgx.ErrNoRows) {
		return fault.NotFound.With("no such token")
	}
	if err != nil {
		return err
	}
	return t.revoked(ctx, id, account, 0)
}
