package account

import (
	"context"

	querypb "slipway.dev/proto/query/v1"

	"slipway.dev/pkg/pg"
	"slipway.dev/pkg/query"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/vm/internal/listing"
)

// item is an account with the sum of its hosts.
type item struct {
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
		SELECT count(*)::int AS hosts, coalesce(sum(coalesce(h.cpu_sold, h.cpu_number)), 0)::int AS cpus,
			coalesce(sum(coalesce(h.ram_sold, h.ram_mib)), 0)::int AS ram
		FROM host h WHERE h.account_id = a.id) v`}},
	Columns: `a.id, a.email, a.roles, a.state, v.hosts, v.cpus, v.ram,
		((SELECT coalesce(sum(d.size_mib), 0) FROM disk d JOIN host h ON h.id = d.host_id WHERE h.account_id = a.id)
			+ (SELECT coalesce(sum(d.size_mib), 0) FROM disk d WHERE d.host_id IS NULL AND d.account_id = a.id))::int AS disk`,
	LastNotify: listing.Now,
	Fields: map[string]query.Field{
		"id":         {SQL: "a.id", Type: query.Int},
		"email":      {SQL: "a.email", Type: query.Mail},
		"state":      {SQL: "a.state", Type: query.Text},
		"roles":      {SQL: "role", Type: query.Text, Each: "unnest(a.roles) AS role WHERE true"},
		"host_count": {SQL: "v.hosts", Type: query.Int, Needs: "v"},
	},
}

// page returns a page of the accounts: owner itself, or all for owner 0.
func page(ctx context.Context, db *unit.DB, q *querypb.Query, owner int32) (query.Rows[item], error) {
	return query.Read[item](ctx, db.Lists, accountList, q, listing.Own("a.id", owner))
}

// countHosts counts the hosts of an account.
func countHosts(ctx context.Context, db *unit.DB, id int32) (n int32, err error) {
	err = db.QueryRow(ctx, `SELECT count(*)::int FROM host WHERE account_id = $1`, id).Scan(&n)
	return n, err
}

// find returns one account.
func find(ctx context.Context, db *unit.DB, id, owner int32) (item, error) {
	rows, err := db.Query(ctx, accountList.Row(`a.id = $1 AND ($2 = 0 OR a.id = $2)`), id, owner)
	return pg.One[item](rows, err, pg.Missing("account", id))
}
