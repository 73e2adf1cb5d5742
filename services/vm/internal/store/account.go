package store

import (
	"context"

	querypb "slipway.dev/proto/query/v1"

	"slipway.dev/pkg/pg"
	"slipway.dev/pkg/query"
)

// Account is vm's copy of an account.
type Account struct {
	ID    int32
	Email string
	Roles []string
	State string
}

// KeepAccount stores what auth says of an account.
func (t Tx) KeepAccount(ctx context.Context, a Account) error {
	_, err := t.Exec(ctx, `
		INSERT INTO account (id, email, roles, state) VALUES ($1, $2, $3, $4)
		ON CONFLICT (id) DO UPDATE SET email = excluded.email, roles = excluded.roles, state = excluded.state`,
		a.ID, a.Email, append([]string{}, a.Roles...), a.State)
	return err
}

// DropAccount forgets an account.
func (t Tx) DropAccount(ctx context.Context, id int32) error {
	_, err := t.Exec(ctx, `
		WITH unused AS (DELETE FROM account_usage WHERE account_id = $1 AND host_count = 0)
		DELETE FROM account WHERE id = $1`, id)
	return err
}

// AccountItem is an account with the sum of its hosts.
type AccountItem struct {
	ID    int32
	Email string
	Roles []string
	State string
	Hosts int32
	CPUs  int32
	RAM   int32
	Disk  int32
}

var accountList = query.List{
	From: "account a",
	Joins: []query.Join{{Alias: "v", SQL: `CROSS JOIN LATERAL (
		SELECT count(*)::int AS hosts, coalesce(sum(h.cpu_number), 0)::int AS cpus, coalesce(sum(h.ram_mib), 0)::int AS ram
		FROM host h WHERE h.account_id = a.id) v`}},
	Columns: `a.id, a.email, a.roles, a.state, v.hosts, v.cpus, v.ram,
		(SELECT coalesce(sum(d.size_mib), 0)::int FROM disk d JOIN host h ON h.id = d.host_id WHERE h.account_id = a.id) AS disk`,
	LastNotify: now,
	Fields: map[string]query.Field{
		"id":         {SQL: "a.id", Type: query.Int},
		"email":      {SQL: "a.email", Type: query.Mail},
		"state":      {SQL: "a.state", Type: query.Text},
		"roles":      {SQL: "role", Type: query.Text, Each: "unnest(a.roles) AS role WHERE true"},
		"host_count": {SQL: "v.hosts", Type: query.Int, Needs: "v"},
	},
}

// Accounts returns a page of the accounts; owner sees itself, 0 all.
func (s *Store) Accounts(ctx context.Context, q *querypb.Query, owner int32) (query.Rows[AccountItem], error) {
	return query.Read[AccountItem](ctx, s.lists, accountList, q, own("a.id", owner))
}

// Account returns one account.
func (s *Store) Account(ctx context.Context, id, owner int32) (AccountItem, error) {
	rows, err := s.pool.Query(ctx,
		accountList.Row(`a.id = $1 AND ($2 = 0 OR a.id = $2)`), id, owner)
	return pg.One[AccountItem](rows, err, pg.Missing("account", id))
}
