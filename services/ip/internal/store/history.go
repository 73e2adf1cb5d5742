package store

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"github.com/jackc/pgx/v5"

	querypb "slipway.dev/proto/query/v1"

	"slipway.dev/pkg/query"
)

// Holding is one time that an owner had an address.
type Holding struct {
	ID      int64
	IP      netip.Addr
	Owner   string
	Account *int32
	From    time.Time
	To      *time.Time
}

var history = query.List{
	From:       "address_history h",
	Columns:    `h.id, h.ip, h.owner::text AS owner, h.account_id AS account, h.assigned_at AS "from", h.released_at AS "to"`,
	LastNotify: lastChange, Newest: true,
	Fields: map[string]query.Field{
		"id":        {SQL: "h.id", Type: query.Int},
		"ip_addr":   {SQL: "h.ip", Type: query.IP},
		"owner":     {SQL: "h.owner::text", Type: query.Text},
		"account":   {SQL: "h.account_id", Type: query.Int, Null: true},
		"date_from": {SQL: "h.assigned_at", Type: query.Time},
		"date_to":   {SQL: "h.released_at", Type: query.Time, Null: true},
	},
}

// AddressHistory lists who had an address, the latest first. The row of an IPv6 address goes when it is free; what it
// was is told for as long as its id is remembered.
func (s *Store) AddressHistory(ctx context.Context, id int32, q *querypb.Query) (query.Rows[Holding], error) {
	var ip netip.Addr
	err := s.pool.QueryRow(ctx, `
		SELECT ip FROM address WHERE id = $1 UNION ALL
		(SELECT ip FROM address_history WHERE address_id = $1 LIMIT 1) LIMIT 1`, id).Scan(&ip)
	if errors.Is(err, pgx.ErrNoRows) {
		return query.Rows[Holding]{}, noAddress(id)
	}
	if err != nil {
		return query.Rows[Holding]{}, err
	}
	return s.holdings(ctx, q, ip, ip)
}

// NetworkHistory does so for all addresses of a network.
func (s *Store) NetworkHistory(ctx context.Context, id int32, q *querypb.Query) (query.Rows[Holding], error) {
	var first, last netip.Addr
	err := s.pool.QueryRow(ctx, `
		SELECT host(cidr)::inet, host(broadcast(cidr))::inet FROM network WHERE id = $1`, id).Scan(&first, &last)
	if errors.Is(err, pgx.ErrNoRows) {
		return query.Rows[Holding]{}, noNetwork(id)
	}
	if err != nil {
		return query.Rows[Holding]{}, err
	}
	return s.holdings(ctx, q, first, last)
}

func (s *Store) holdings(ctx context.Context, q *querypb.Query, first, last netip.Addr) (query.Rows[Holding], error) {
	return query.Read[Holding](ctx, s.lists, history, q, query.Scope{SQL: "h.ip BETWEEN $1 AND $2", Args: []any{first, last}})
}
