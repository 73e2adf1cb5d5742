package address

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	querypb "slipway.dev/proto/query/v1"

	"slipway.dev/pkg/identity"
	"slipway.dev/pkg/query"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/ip/internal/schema"
)

// all lists the addresses of IPv4 ranges, and those of IPv6 ranges that are not free.
var all = query.List{
	From: "address a",
	Joins: []query.Join{
		{Alias: "n", SQL: "JOIN pool_range r ON r.id = a.range_id JOIN network n ON n.id = r.network_id"},
		{Alias: "p", SQL: "LEFT JOIN ptr p ON p.ip = a.ip"},
	},
	Columns: columns + ptrColumns, LastNotify: schema.LastNotify,
	Fields: map[string]query.Field{
		"id":          {SQL: "a.id", Type: query.Int},
		"ip_addr":     {SQL: "a.ip", Type: query.IP},
		"name":        {SQL: "a.ip", Type: query.IP},
		"state":       {SQL: "a.state", Type: query.Text},
		"status":      {SQL: "a.state", Type: query.Text},
		"family":      {SQL: "family(a.ip)", Type: query.Int},
		"ippool":      {SQL: "a.pool_id", Type: query.Int},
		"ippool.name": {SQL: "(SELECT p.name FROM pool p WHERE p.id = a.pool_id)", Type: query.Text},
		"ipnet":       {SQL: "n.id", Type: query.Int, Needs: "n"},
		"network":     {SQL: "n.id", Type: query.Int, Needs: "n"},
		"ipnet_name":  {SQL: "n.cidr::text", Type: query.Text, Needs: "n"},
		"ipnet.name":  {SQL: "n.cidr::text", Type: query.Text, Needs: "n"},
		"gateway":     {SQL: "n.gateway", Type: query.IP, Null: true, Needs: "n"},
		"domain":      {SQL: "a.domain", Type: query.Text},
		"ptr_state":   {SQL: ptrState, Type: query.Text, Needs: "p"},
		"owner":       {SQL: "a.owner::text", Type: query.Text, Null: true},
		"interface":   {SQL: "a.interface", Type: query.Int},
		"note":        {SQL: "a.note", Type: query.Text},
		"generation":  {SQL: "a.generation", Type: query.Int},
		"vlan":        {SQL: "n.vlan", Type: query.Int, Needs: "n", Null: true},
	},
}

const (
	columns = `a.id, a.ip, CASE a.state WHEN 'special' THEN 'gateway' ELSE a.state END AS state, a.pool_id,
		n.id AS network_id, n.cidr, n.gateway, n.dns_servers AS dns, n.vlan, a.domain, a.note,
		coalesce(a.owner::text, '') AS owner, a.interface, coalesce(a.position, 0) AS position, a.generation,
		a.ptr_serial AS ptrserial`
	tables = `FROM address a JOIN pool_range r ON r.id = a.range_id JOIN network n ON n.id = r.network_id`

	// ptrColumns say whether the name servers have the name of an address a, whose record is p.
	ptrColumns = `, ` + ptrState + ` AS ptrstate, coalesce(p.error, '') AS ptrerror`
	ptrState   = `CASE WHEN p.ip IS NULL THEN '' WHEN p.due IS NULL THEN 'published' WHEN p.error <> '' THEN 'failed'
		ELSE 'waiting' END`
)

// shown is an address as lists show it.
type shown struct {
	row
	PTRState, PTRError string
}

// formerAccount is the account that had the address last; null if no account had it.
const formerAccount = `(SELECT h.account_id FROM address_history h WHERE h.address_id = a.id ORDER BY h.id DESC LIMIT 1)`

// list returns the addresses that q selects.
func list(ctx context.Context, db *unit.DB, q *querypb.Query) (query.Rows[shown], error) {
	return query.Read[shown](ctx, db.Lists, all, q, listed(ctx, q))
}

// listed returns the scope of the list. Clients take an address that is listed for one that they cannot give to a host, so the
// scope leaves out those that the caller can give, unless the filter asks for the state: free ones, and those in quarantine that the
// caller's account had last.
func listed(ctx context.Context, q *querypb.Query) query.Scope {
	if query.Names(q.GetWhere(), "state", "status") {
		return query.Scope{}
	}
	me, _ := identity.From(ctx)
	return query.Scope{
		SQL:  "a.state <> 'free' AND (a.state <> 'quarantined' OR " + formerAccount + " IS DISTINCT FROM $1::int)",
		Args: []any{me.AccountID},
	}
}

// get returns one address.
func get(ctx context.Context, db *unit.DB, id int32) (shown, error) {
	rows, err := db.Query(ctx, `SELECT `+columns+ptrColumns+` `+tables+` LEFT JOIN ptr p ON p.ip = a.ip WHERE a.id = $1`, id)
	if err != nil {
		return shown{}, err
	}
	a, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[shown])
	if errors.Is(err, pgx.ErrNoRows) {
		return a, missing(id)
	}
	return a, err
}
