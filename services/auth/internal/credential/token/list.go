package token

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	querypb "slipway.dev/proto/query/v1"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/query"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/auth/internal/credential"
	"slipway.dev/services/auth/internal/schema"
)

// columns is for statements whose $1 is the default of setting.Idle.
var columns = `id, account_id, ` + credential.KindSQL + ` AS kind, description, expires_at, last_used, created_at, ` +
	credential.EndsSQL() + ` AS valid_until`

var tokens = query.List{
	From: "token t", Columns: columns, LastNotify: schema.LastNotify,
	Fields: map[string]query.Field{
		"id":          {SQL: "t.id", Type: query.Int},
		"kind":        {SQL: "(" + credential.KindSQL + ")", Type: query.Text},
		"description": {SQL: "t.description", Type: query.Text},
		"expires_at":  {SQL: "t.expires_at", Type: query.Time, Null: true},
		"last_used":   {SQL: "t.last_used", Type: query.Time},
		"created":     {SQL: "t.created_at", Type: query.Time},
	},
}

// alive selects the sessions and tokens of an account that are good now.
func alive(account int32, ttl time.Duration) query.Scope {
	return query.Scope{SQL: "account_id = $2 AND " + credential.LivesSQL(), Args: []any{ttl, account}}
}

func list(ctx context.Context, db *unit.DB, q *querypb.Query, account int32, ttl time.Duration) (query.Rows[info], error) {
	return query.Read[info](ctx, db.Lists, tokens, q, alive(account, ttl))
}

// find reads one token of an account.
func find(ctx context.Context, db *unit.DB, account, id int32, ttl time.Duration) (info, error) {
	rows, err := db.Query(ctx, `SELECT `+columns+` FROM token t WHERE id = $2 AND account_id = $3`, ttl, id, account)
	if err != nil {
		return info{}, err
	}
	i, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[info])
	if errors.Is(err, pgx.ErrNoRows) {
		return i, fault.NotFound.With("no such session")
	}
	return i, err
}
