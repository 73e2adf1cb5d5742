package address

import (
	"context"
	"errors"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	querypb "slipway.dev/proto/query/v1"

	"slipway.dev/pkg/pg"
	"slipway.dev/pkg/query"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/vm/internal/listing"
)

// item is an address as lists show it.
type item struct {
	ID        int32  `db:"ip_id"`
	Addr      string `db:"addr"`
	Gateway   string
	Mask      string
	Family    int32
	Pool      int32 `db:"pool_id"`
	Network   int32 `db:"network_id"`
	Interface int32
	Prefix    int32
	State     string
	Domain    string // PTR record
	PTRState  string `db:"ptr_state"`
	PTRError  string `db:"ptr_error"`
}

// addressList is in the order in which the host has its addresses.
var addressList = query.List{
	From: "host_address x", Key: "position", LastNotify: listing.Now,
	Columns: `x.ip_id, host(x.addr) AS addr, x.gateway, x.mask, x.family, x.pool_id, x.network_id, x.interface,
		x.prefix, x.state, x.domain, x.ptr_state, x.ptr_error`,
	Fields: map[string]query.Field{
		"id":                {SQL: "x.ip_id", Type: query.Int},
		"position":          {SQL: "x.position", Type: query.Int},
		"ip_addr":           {SQL: "x.addr", Type: query.IP},
		"gateway":           {SQL: "x.gateway", Type: query.Text},
		"mask":              {SQL: "x.mask", Type: query.Text},
		"state":             {SQL: "x.state", Type: query.Text},
		"domain":            {SQL: "x.domain", Type: query.Text},
		"ptr_state":         {SQL: "x.ptr_state", Type: query.Text},
		"family":            {SQL: "x.family", Type: query.Int},
		"ippool":            {SQL: "x.pool_id", Type: query.Int},
		"network":           {SQL: "x.network_id", Type: query.Int},
		"cluster_interface": {SQL: "x.interface", Type: query.Int},
	},
}

// page returns a page of the addresses of one family of a host.
func page(ctx context.Context, db *unit.DB, q *querypb.Query, host, family int32) (query.Rows[item], error) {
	return query.Read[item](ctx, db.Lists, addressList, q, query.Scope{SQL: "x.host_id = $1 AND x.family = $2", Args: []any{host, family}})
}

// hostNames are what the addresses of a host are shown with.
type hostNames struct{ Name, Domain string }

// namesOf returns the names of a host of owner. Owner 0 has all hosts.
func namesOf(ctx context.Context, db *unit.DB, host, owner int32) (hostNames, error) {
	rows, err := db.Query(ctx, `SELECT name, domain FROM host WHERE id = $1 AND ($2 = 0 OR account_id = $2)`, host, owner)
	return pg.One[hostNames](rows, err, pg.Missing("host", host))
}

// Holder returns the host of owner that has an address. Owner 0 has all hosts.
func Holder(ctx context.Context, db *unit.DB, ip, owner int32) (host int32, id uuid.UUID, err error) {
	err = db.QueryRow(ctx, `
		SELECT h.id, h.uuid FROM host_address x JOIN host h ON h.id = x.host_id
		WHERE x.ip_id = $2 AND ($1 = 0 OR h.account_id = $1) ORDER BY x.generation DESC LIMIT 1`, owner, ip).Scan(&host, &id)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, id, pg.Missing("address", ip)
	}
	return host, id, err
}
