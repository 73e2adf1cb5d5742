package store

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	querypb "slipway.dev/proto/query/v1"

	"slipway.dev/pkg/audit"
	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/query"
	"slipway.dev/services/auth/internal/domain"
)

const (
	tokenKind = `coalesce(t.kind, CASE WHEN t.sliding THEN 'session' ELSE 'token' END)`
	isSession = `(t.sliding OR coalesce(t.kind IN ('refresh', 'keystone'), false))`
)

// For statements whose $1 is the default of idle.
var (
	tokenColumns = `id, account_id, ` + tokenKind + ` AS kind, description, expires_at, last_used, created_at, ` + tokenEnds + ` AS valid_until`
	tokenEnds    = `CASE WHEN t.sliding THEN least(t.last_used + ` + idle + `, t.created_at + ` + maxAge + `) ELSE t.expires_at END`
	tokenLives   = `coalesce(` + tokenEnds + ` > now(), true)`
)

var tokens = query.List{
	From: "token t", Columns: tokenColumns, LastNotify: lastChange,
	Fields: map[string]query.Field{
		"id":          {SQL: "t.id", Type: query.Int},
		"kind":        {SQL: "(" + tokenKind + ")", Type: query.Text},
		"description": {SQL: "t.description", Type: query.Text},
		"expires_at":  {SQL: "t.expires_at", Type: query.Time, Null: true},
		"last_used":   {SQL: "t.last_used", Type: query.Time},
		"created":     {SQL: "t.created_at", Type: query.Time},
	},
}

// Tokens lists the sessions and tokens of an account that are good now.
func (s *Store) Tokens(ctx context.Context, q *querypb.Query, account int32, ttl time.Duration) (query.Rows[domain.TokenInfo], error) {
	scope := query.Scope{SQL: "account_id = $2 AND " + tokenLives, Args: []any{ttl, account}}
	return query.Read[domain.TokenInfo](ctx, s.lists, tokens, q, scope)
}

// Token reads one token of an account.
func (s *Store) Token(ctx context.Context, account, id int32, ttl time.Duration) (domain.TokenInfo, error) {
	rows, err := s.pool.Query(ctx, `SELECT `+tokenColumns+` FROM token t WHERE id = $2 AND account_id = $3`, ttl, id, account)
	if err != nil {
		return domain.TokenInfo{}, err
	}
	i, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[domain.TokenInfo])
	if errors.Is(err, pgx.ErrNoRows) {
		return i, fault.NotFound.With("no such session")
	}
	return i, err
}

// DeleteToken ends a credential by its id or its hash and tells it, and with an API key all that it made. owner is whose it
// must be, 0 for anybody's.
func (t Tx) DeleteToken(ctx context.Context, owner, id int32, hash []byte) error {
	gone, err := t.deleteToken(ctx, owner, "id = $2 OR hash = $3", id, hash)
	if err != nil {
		return err
	}
	audit.Of(ctx).Object("token", gone)
	return nil
}

// KillSession is DeleteToken for a session, by its uuid.
func (t Tx) KillSession(ctx context.Context, owner int32, uuid string) error {
	_, err := t.deleteToken(ctx, owner, "uuid = $2 AND "+isSession, uuid)
	return err
}

func (t Tx) deleteToken(ctx context.Context, owner int32, which string, args ...any) (id int32, err error) {
	var account int32
	var made []int32
	err = t.QueryRow(ctx, `
		WITH gone AS (DELETE FROM token t WHERE ($1::integer = 0 OR account_id = $1) AND (`+which+`) RETURNING id, account_id)
		SELECT id, account_id, ARRAY(SELECT DISTINCT account_id FROM token WHERE maker = gone.id ORDER BY account_id) FROM gone`,
		append([]any{owner}, args...)...).Scan(&id, &account, &made)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, fault.NotFound.With("no such token")
	}
	if err != nil {
		return 0, err
	}
	if err := t.outdate(ctx, made...); err != nil {
		return 0, err
	}
	return id, t.revoked(ctx, id, account, 0)
}
