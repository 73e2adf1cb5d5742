package apikey

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	querypb "slipway.dev/proto/query/v1"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/query"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/auth/internal/schema"
)

const (
	columns = `id, account_id, description AS name, hint, scopes, cidrs, expires_at, created_at, last_used, ip,
		coalesce(expires_at <= now(), false) AS expired`
	ownedBy = `kind = 'apikey' AND ($1::integer = 0 OR account_id = $1)` // $1: 0 is any account
)

var keys = query.List{
	From: "token t", Columns: columns, LastNotify: schema.LastNotify,
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

// list returns the API keys of an account; 0: of all.
func list(ctx context.Context, db *unit.DB, q *querypb.Query, account int32) (query.Rows[apiKey], error) {
	return query.Read[apiKey](ctx, db.Lists, keys, q, query.Scope{SQL: ownedBy, Args: []any{account}})
}

// find reads an API key of an account; 0: of any.
func find(ctx context.Context, db *unit.DB, account, id int32) (apiKey, error) {
	rows, err := db.Query(ctx, `SELECT `+columns+` FROM token WHERE `+ownedBy+` AND id = $2`, account, id)
	return collect(rows, err)
}

func collect(rows pgx.Rows, err error) (apiKey, error) {
	if err != nil {
		return apiKey{}, err
	}
	k, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByNameLax[apiKey])
	if errors.Is(err, pgx.ErrNoRows) {
		return k, fault.NotFound.With("no such API key")
	}
	return k, err
}
