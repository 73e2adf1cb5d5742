package role

import (
	"context"

	"github.com/jackc/pgx/v5"

	querypb "slipway.dev/proto/query/v1"

	"slipway.dev/pkg/query"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/auth/internal/schema"
)

const (
	// accountCount is SQL for how many accounts have a row of role.
	accountCount = `(SELECT count(*) FROM user_account WHERE roles @> ARRAY[role.name])::integer`
	columns      = `id, name, description, scopes, reach_all, builtin, ` + accountCount + ` AS account_count`
)

var roles = query.List{
	From: "role", Columns: columns, LastNotify: schema.LastNotify,
	Fields: map[string]query.Field{
		"id":            {SQL: "id", Type: query.Int},
		"name":          {SQL: "name", Type: query.Text},
		"description":   {SQL: "description", Type: query.Text},
		"scopes":        {SQL: "scope", Type: query.Text, Each: "unnest(role.scopes) AS scope WHERE true"},
		"all":           {SQL: "reach_all", Type: query.Bool},
		"builtin":       {SQL: "builtin", Type: query.Bool},
		"account_count": {SQL: accountCount, Type: query.Int},
	},
}

func list(ctx context.Context, db *unit.DB, q *querypb.Query) (query.Rows[role], error) {
	return query.Read[role](ctx, db.Lists, roles, q, query.Scope{})
}

// accountsWith returns the accounts that have a role.
func accountsWith(ctx context.Context, tx *unit.Tx, name string) ([]int32, error) {
	rows, err := tx.Query(ctx, `SELECT id FROM user_account WHERE roles @> ARRAY[$1::text] ORDER BY id`, name)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[int32])
}
