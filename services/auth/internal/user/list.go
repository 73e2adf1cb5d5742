package user

import (
	"context"

	querypb "slipway.dev/proto/query/v1"

	"slipway.dev/pkg/pg"
	"slipway.dev/pkg/query"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/auth/internal/account"
	"slipway.dev/services/auth/internal/schema"
	"slipway.dev/services/auth/internal/setting"
)

const onlyAccount = `$1::integer = 0 OR id = $1`

// accounts lists no password hashes, nor can they be filtered by.
var accounts = query.List{
	From: "user_account", LastNotify: schema.LastNotify,
	Columns: "id, email, roles, state, auth_source, full_name, lang, phone_number, note, created_at, " + account.HasTOTP + " AS totp",
	Fields: map[string]query.Field{
		"id":          {SQL: "id", Type: query.Int},
		"email":       {SQL: "email", Type: query.Mail},
		"state":       {SQL: "state", Type: query.Text},
		"roles":       {SQL: "role", Type: query.Text, Each: "unnest(user_account.roles) AS role WHERE true"},
		"auth_source": {SQL: "auth_source", Type: query.Text},

		"full_name":    {SQL: "full_name", Type: query.Text},
		"lang":         {SQL: "lang", Type: query.Text},
		"phone_number": {SQL: "phone_number", Type: query.Text},
		"note":         {SQL: "note", Type: query.Text},
		"created":      {SQL: "created_at", Type: query.Time},
		"totp":         {SQL: account.HasTOTP, Type: query.Bool},
	},
}

// list returns accounts, without their password hashes. only is the one that the caller may see, 0 for all.
func list(ctx context.Context, db *unit.DB, q *querypb.Query, only int32) (query.Rows[account.Account], error) {
	return query.Read[account.Account](ctx, db.Lists, accounts, q, query.Scope{SQL: onlyAccount, Args: []any{only}})
}

// givesHosts reports whether the hosts of a deleted account go to its heir; otherwise an account that has hosts is not deleted.
func givesHosts(ctx context.Context, db pg.DB) (yes bool, err error) {
	err = db.QueryRow(ctx, `SELECT `+setting.DeleteGivesHosts.Number()+` <> 0`).Scan(&yes)
	return yes, err
}

// anyAccount reports whether there is an account at all.
func anyAccount(ctx context.Context, db pg.DB) (ok bool, err error) {
	err = db.QueryRow(ctx, `SELECT EXISTS (SELECT FROM user_account)`).Scan(&ok)
	return ok, err
}
