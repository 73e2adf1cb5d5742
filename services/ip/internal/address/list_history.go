package address

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"github.com/jackc/pgx/v5"

	querypb "slipway.dev/proto/query/v1"

	"slipway.dev/pkg/query"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/ip/internal/schema"
)

// holding is a period in which an owner had an address.
type holding struct {
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
	LastNotify: schema.LastNotify, Newest: true,
	Fields: map[string]query.Field{
		"id":        {SQL: "h.id", Type: query.Int},
		"ip_addr":   {SQL: "h.ip", Type: query.IP},
		"owner":     {SQL: "h.owner::text", Type: query.Text},
		"account":   {SQL: "h.account_id", Type: query.Int, Null: true},
		"date_from": {SQL: "h.assigned_at", Type: query.Time},
		"date_to":   {SQL: "h.released_at", Type: query.Time, Null: true},
	},
}

// historyOf returns which owners had an address, the latest first. It also works for a free IPv6 address, which has no
// row, as long as the history has the id.
func historyOf(ctx context.Context, db *unit.DB, id int32, q *querypb.Query) (query.Rows[holding], error) {
	var ip netip.Addr
	err := db.QueryRow(ctx, `
		SELECT ip FROM address WHERE id = $1 UNION ALL
		(SELECT ip FROM address_history WHERE address_id = $1 LIMIT 1) LIMIT 1`, id).Scan(&ip)
	if errors.Is(err, pgx.ErrNoRows) {
		return query.Rows[holding]{}, missing(id)
	}
	if err != nil {
		return query.Rows[holding]{}, err
	}
	return historyBetween(ctx, db, q, ip, ip)
}

// historyBetween returns which owners had the addresses from first to last, the latest first.
func historyBetween(ctx context.Context, db *unit.DB, q *querypb.Query, first, last netip.Addr) (query.Rows[holding], error) {
	return query.Read[holding](ctx, db.Lists, history, q,
		query.Scope{SQL: "h.ip BETWEEN $1 AND $2", Args: []any{first, last}})
}
