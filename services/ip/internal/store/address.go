package store

import (
	"context"
	"errors"
	"net/netip"

	"github.com/jackc/pgx/v5"

	querypb "slipway.dev/proto/query/v1"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/query"
	"slipway.dev/services/ip/internal/domain"
)

// addresses lists all of IPv4 ranges, and those of IPv6 ranges that are not free.
var addresses = query.List{
	From: "address a",
	Joins: []query.Join{
		{Alias: "n", SQL: "JOIN pool_range r ON r.id = a.range_id JOIN network n ON n.id = r.network_id"},
	},
	Columns: addressColumns, LastNotify: lastChange,
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
		"gateway":     {SQL: "n.gateway", Type: query.IP, Needs: "n"},
		"domain":      {SQL: "a.domain", Type: query.Text},
		"owner":       {SQL: "a.owner::text", Type: query.Text, Null: true},
		"interface":   {SQL: "a.interface", Type: query.Int},
		"note":        {SQL: "a.note", Type: query.Text},
		"generation":  {SQL: "a.generation", Type: query.Int},
		"vlan":        {SQL: "n.vlan", Type: query.Int, Needs: "n", Null: true},
	},
}

const (
	addressColumns = `a.id, a.ip, CASE a.state WHEN 'special' THEN 'gateway' ELSE a.state END AS state, a.pool_id,
		n.id AS network_id, n.cidr, n.gateway, n.dns_servers AS dns, n.vlan, a.domain, a.note,
		coalesce(a.owner::text, '') AS owner, a.interface, coalesce(a.position, 0) AS position, a.generation,
		a.ptr_serial AS ptrserial`
	addressTables = `FROM address a JOIN pool_range r ON r.id = a.range_id JOIN network n ON n.id = r.network_id`
)

// Addresses lists addresses: all of IPv4 ranges, and those of IPv6 ranges that are not free.
func (s *Store) Addresses(ctx context.Context, q *querypb.Query) (query.Rows[domain.Address], error) {
	return query.Read[domain.Address](ctx, s.lists, addresses, q, query.Scope{})
}

// Address reads one address.
func (s *Store) Address(ctx context.Context, id int32) (domain.Address, error) {
	rows, err := s.pool.Query(ctx, `SELECT `+addressColumns+` `+addressTables+` WHERE a.id = $1`, id)
	if err != nil {
		return domain.Address{}, err
	}
	a, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[domain.Address])
	if errors.Is(err, pgx.ErrNoRows) {
		return a, noAddress(id)
	}
	return a, err
}

func noAddress(id int32) error { return fault.NotFound.With("no address %d", id) }

// Hold reserves an address of a pool for no owner. One that is held already gets the new note.
func (t Tx) Hold(ctx context.Context, pool int32, ip netip.Addr, note string) (id int32, err error) {
	var r run6
	err = t.QueryRow(ctx, `
		SELECT r.id, r.first, r.last, n.cidr FROM pool_range r JOIN network n ON n.id = r.network_id
		WHERE r.pool_id = $1 AND inetrange(r.first, r.last, '[]') @> $2::inet FOR NO KEY UPDATE OF r`, pool, ip).
		Scan(&r.ID, &r.First, &r.Last, &r.CIDR)
	if errors.Is(err, pgx.ErrNoRows) || err == nil && !r.contains(ip) {
		return 0, fault.Invalid.With("%s is not an address of pool %d", ip, pool).On("ip_addr")
	}
	if err != nil {
		return 0, err
	}
	err = t.QueryRow(ctx, `
		INSERT INTO address AS a (ip, range_id, pool_id, state, note) VALUES ($1, $2, $3, 'reserved', $4)
		ON CONFLICT (ip) DO UPDATE SET state = 'reserved', note = excluded.note
		WHERE a.state = 'free' OR a.state = 'reserved' AND a.owner IS NULL
		RETURNING id`, ip, r.ID, pool, note).Scan(&id)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, domain.ErrInUse.With("the address %s is in use", ip)
	}
	return id, err
}

// Free frees an address that is held for no owner, or in quarantine. Freeing what is free succeeds.
func (t Tx) Free(ctx context.Context, id int32) error {
	var ip netip.Addr
	var state, owner string
	err := t.QueryRow(ctx, `
		SELECT ip, state, coalesce(owner::text, '') FROM address WHERE id = $1 FOR UPDATE`, id).Scan(&ip, &state, &owner)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return noAddress(id)
	case err != nil:
		return err
	case state == domain.StateFree:
		return nil
	case owner != "" || state != domain.StateReserved && state != domain.StateQuarantined:
		return domain.ErrInUse.With("the address %s is in use", ip)
	}
	sql := `UPDATE address SET state = 'free', until = NULL, note = '', generation = generation + 1 WHERE id = $1`
	if ip.Is6() {
		sql = `DELETE FROM address WHERE id = $1`
	}
	_, err = t.Exec(ctx, sql, id)
	return err
}
