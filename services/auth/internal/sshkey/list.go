package sshkey

import (
	"context"

	"github.com/jackc/pgx/v5"

	querypb "slipway.dev/proto/query/v1"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/query"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/auth/internal/account"
	"slipway.dev/services/auth/internal/schema"
)

var keys = query.List{
	From: "ssh_key k", Columns: "k.id, k.name, k.public_key, k.fingerprint", LastNotify: schema.LastNotify,
	Fields: map[string]query.Field{
		"id":          {SQL: "k.id", Type: query.Int},
		"name":        {SQL: "k.name", Type: query.Text},
		"ssh_pub_key": {SQL: "k.public_key", Type: query.Text},
	},
}

// list returns the keys of an account that exists.
func list(ctx context.Context, db *unit.DB, q *querypb.Query, of int32) (query.Rows[sshKey], error) {
	if _, err := account.Find(ctx, db, of); err != nil {
		return query.Rows[sshKey]{}, err
	}
	return query.Read[sshKey](ctx, db.Lists, keys, q, query.Scope{SQL: "k.account_id = $1", Args: []any{of}})
}

// all returns all keys of an account that exists.
func all(ctx context.Context, db *unit.DB, of int32) ([]sshKey, error) {
	rows, err := db.Query(ctx, `
		SELECT coalesce(k.id, 0), coalesce(k.name, ''), coalesce(k.public_key, '')
		FROM user_account a LEFT JOIN ssh_key k ON k.account_id = a.id WHERE a.id = $1 ORDER BY k.id`, of)
	if err != nil {
		return nil, err
	}
	list, err := pgx.CollectRows(rows, func(r pgx.CollectableRow) (k sshKey, err error) {
		return k, r.Scan(&k.ID, &k.Name, &k.PublicKey)
	})
	switch {
	case err != nil:
		return nil, err
	case len(list) == 0:
		return nil, fault.NotFound.With("no such account")
	case list[0].ID == 0:
		return nil, nil
	}
	return list, nil
}
