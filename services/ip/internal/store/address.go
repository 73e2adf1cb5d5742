package store

import (
	"context"
	"net/netip"
	"time"

	"github.com/jackc/pgx/v5"

	ippb "slipway.dev/proto/ip/v3"
	querypb "slipway.dev/proto/query/v1"

	"slipway.dev/pkg/query"
	"slipway.dev/services/ip/internal/domain"
)

// addresses lists those that are not free. Gateways are their networks' and not listed.
var addresses = query.List{
	From: "address a",
	Joins: []query.Join{
		{Alias: "n", SQL: "JOIN pool_range r ON r.id = a.range_id JOIN network n ON n.id = r.network_id"},
	},
	Columns: addressColumns, Only: "a.state <> 'free' AND a.state <> 'special'", LastNotify: lastChange,
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
	},
}

const (
	addressColumns = `a.id, a.ip, a.state, a.pool_id, n.id AS network_id, n.cidr, n.gateway, a.domain,
		coalesce(a.owner::text, '') AS owner, a.interface, coalesce(a.position, 0) AS position`
	addressTables = `FROM address a JOIN pool_range r ON r.id = a.range_id JOIN network n ON n.id = r.network_id`
)

// Addresses lists addresses.
func (s *Store) Addresses(ctx context.Context, q *querypb.Query) (query.Rows[domain.Address], error) {
	return query.Read[domain.Address](ctx, s.lists, addresses, q, query.Scope{})
}

// held reads what an owner has, in order.
func (t Tx) held(ctx context.Context, owner string) ([]domain.Address, error) {
	rows, err := t.tx.Query(ctx, `SELECT `+addressColumns+` `+addressTables+` WHERE a.owner = $1 ORDER BY a.position`, owner)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByName[domain.Address])
}

// ref is an address and who had it.
type ref struct {
	ID    int32
	IP    netip.Addr
	Owner string
}

// Confirm makes all reservations of an owner permanent, or none. That they are already is no fault.
func (t Tx) Confirm(ctx context.Context, owner string) error {
	if _, err := t.tx.Exec(ctx, lockOwner, owner); err != nil {
		return err
	}
	var held, lapsed int
	err := t.tx.QueryRow(ctx, `
		SELECT count(*), count(*) FILTER (WHERE until <= now())
		FROM (SELECT until FROM address WHERE owner = $1 FOR UPDATE) a`, owner).Scan(&held, &lapsed)
	if err != nil {
		return err
	}
	if held == 0 || lapsed > 0 {
		return domain.ErrLapsed.With("the reservation of %s has lapsed", owner)
	}
	rows, err := t.tx.Query(ctx, `
		UPDATE address SET state = 'assigned', until = NULL WHERE owner = $1 AND state = 'reserved'
		RETURNING id, ip, owner::text`, owner)
	if err != nil {
		return err
	}
	done, err := pgx.CollectRows(rows, pgx.RowToStructByPos[ref])
	if err != nil {
		return err
	}
	for _, a := range done {
		err := t.emit(ctx, "ip.v3.address.assigned", a.IP, &ippb.AddressAssigned{Id: a.ID, IpAddr: a.IP.String(), Owner: a.Owner})
		if err != nil {
			return err
		}
	}
	return nil
}

// Release takes all addresses from their owner, if it is the owner still, and puts them into quarantine.
func (t Tx) Release(ctx context.Context, owner string, quarantine time.Duration) (int, error) {
	if _, err := t.tx.Exec(ctx, lockOwner, owner); err != nil {
		return 0, err
	}
	rows, err := t.tx.Query(ctx, `
		UPDATE address SET state = 'quarantined', until = now() + $2::interval, owner = NULL, position = NULL,
			interface = 0, domain = '', generation = generation + 1
		WHERE owner = $1 RETURNING id, ip, $1::text`, owner, quarantine)
	if err != nil {
		return 0, err
	}
	gone, err := pgx.CollectRows(rows, pgx.RowToStructByPos[ref])
	if err != nil {
		return 0, err
	}
	return len(gone), t.tellReleased(ctx, gone)
}

func (t Tx) tellReleased(ctx context.Context, gone []ref) error {
	for _, a := range gone {
		err := t.emit(ctx, "ip.v3.address.released", a.IP, &ippb.AddressReleased{Id: a.ID, IpAddr: a.IP.String(), Owner: a.Owner})
		if err != nil {
			return err
		}
	}
	return nil
}

// sweepBatch bounds one unit of work.
const sweepBatch = 500

// Sweep frees addresses whose reservation lapsed or whose quarantine ended, and returns how many. It passes over those
// that somebody works on.
func (t Tx) Sweep(ctx context.Context) (int, error) {
	return t.sweep(ctx, `true ORDER BY id LIMIT $1 FOR UPDATE SKIP LOCKED`, sweepBatch)
}

// sweepPools does so for all of some pools, and waits for those that somebody works on: they may be free in a moment.
func (t Tx) sweepPools(ctx context.Context, pools []int32) error {
	_, err := t.sweep(ctx, `pool_id = ANY($1) ORDER BY id FOR UPDATE`, pools)
	return err
}

func (t Tx) sweep(ctx context.Context, which string, arg any) (int, error) {
	rows, err := t.tx.Query(ctx, `
		WITH due AS MATERIALIZED (
			SELECT id, ip, owner FROM address WHERE until <= now() AND `+which+`
		), freed AS (
			UPDATE address a SET state = 'free', until = NULL, owner = NULL, position = NULL,
				interface = 0, domain = '', generation = generation + 1
			FROM due WHERE a.id = due.id AND family(a.ip) = 4
		), gone AS (
			DELETE FROM address a USING due WHERE a.id = due.id AND family(a.ip) = 6
		)
		SELECT id, ip, coalesce(owner::text, '') FROM due`, arg)
	if err != nil {
		return 0, err
	}
	due, err := pgx.CollectRows(rows, pgx.RowToStructByPos[ref])
	if err != nil {
		return 0, err
	}
	var lapsed []ref
	for _, a := range due {
		if a.Owner != "" {
			lapsed = append(lapsed, a)
		}
	}
	return len(due), t.tellReleased(ctx, lapsed)
}
