package store

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"slipway.dev/pkg/pg"
	"slipway.dev/services/vm/internal/domain"
)

// Limits reads what an account may use, and what it uses.
func (s *Store) Limits(ctx context.Context, account int32) (domain.Limits, error) {
	return limits(ctx, s.pool, account)
}

func limits(ctx context.Context, db pg.DB, account int32) (l domain.Limits, err error) {
	err = db.QueryRow(ctx, `SELECT `+limitColumns+` FROM account_usage u WHERE account_id = $1`, account).Scan(into(&l)...)
	if errors.Is(err, pgx.ErrNoRows) {
		return domain.Limits{}, nil // no host yet, no limit
	}
	return l, err
}

// limitColumns are those of account_usage u that into scans; with no row nothing is used and nothing is a limit.
const limitColumns = `u.max_host_count, u.max_cpu_number, u.max_ram_mib, u.max_hdd_mib, u.max_ipv4_number, coalesce(u.host_count, 0),
	coalesce(u.cpu_number, 0), coalesce(u.ram_mib, 0), coalesce(u.hdd_mib, 0), coalesce(u.ipv4_number, 0)`

func into(l *domain.Limits) []any {
	m, u := &l.Max, &l.Used
	return []any{&m[0], &m[1], &m[2], &m[3], &m[4], &u[0], &u[1], &u[2], &u[3], &u[4]}
}

// charge counts what an account uses more, or less; no row when that goes beyond a limit.
const charge = `
	INSERT INTO account_usage AS u (account_id, host_count, cpu_number, ram_mib, hdd_mib, ipv4_number)
	VALUES ($1, $2, $3, $4, $5, $6)
	ON CONFLICT (account_id) DO UPDATE SET
		host_count = u.host_count + $2, cpu_number = u.cpu_number + $3, ram_mib = u.ram_mib + $4,
		hdd_mib = u.hdd_mib + $5, ipv4_number = u.ipv4_number + $6
	WHERE ($2 <= 0 OR u.host_count + $2 <= coalesce(u.max_host_count, u.host_count + $2))
	  AND ($3 <= 0 OR u.cpu_number + $3 <= coalesce(u.max_cpu_number, u.cpu_number + $3))
	  AND ($4 <= 0 OR u.ram_mib + $4 <= coalesce(u.max_ram_mib, u.ram_mib + $4))
	  AND ($5 <= 0 OR u.hdd_mib + $5 <= coalesce(u.max_hdd_mib, u.hdd_mib + $5))
	  AND ($6 <= 0 OR u.ipv4_number + $6 <= coalesce(u.max_ipv4_number, u.ipv4_number + $6))`

// Charge counts what an account uses more, or less, and refuses what goes beyond a limit. The account's row is locked from
// here to the commit: it comes late in a unit of work, and before a node's row.
func (t Tx) Charge(ctx context.Context, account int32, add domain.Usage) error {
	for {
		tag, err := t.Exec(ctx, charge, account, add[0], add[1], add[2], add[3], add[4])
		if err != nil || tag.RowsAffected() > 0 {
			return err
		}
		if err := t.refuse(ctx, account, add); err != nil {
			return err
		}
		// A host went meanwhile: there is room now.
	}
}

// refuse returns the limit that add goes beyond; nil when it does not any more.
func (t Tx) refuse(ctx context.Context, account int32, add domain.Usage) error {
	l, err := limits(ctx, t, account)
	if err != nil {
		return err
	}
	return l.Allow(add)
}

// refund gives back what a host uses. Its rows must still be there, and stay until the end of the unit of work.
func (t Tx) refund(ctx context.Context, host int32) error {
	if _, err := t.Exec(ctx, `SELECT FROM host WHERE id = $1 FOR UPDATE`, host); err != nil {
		return err
	}
	_, err := t.Exec(ctx, `
		UPDATE account_usage u SET
			host_count = u.host_count - 1, cpu_number = u.cpu_number - h.cpu_number, ram_mib = u.ram_mib - h.ram_mib,
			hdd_mib = u.hdd_mib - (SELECT coalesce(sum(size_mib), 0) FROM disk WHERE host_id = h.id),
			ipv4_number = u.ipv4_number - (SELECT count(*) FROM host_address WHERE host_id = h.id AND family = 4)
		FROM host h WHERE h.id = $1 AND u.account_id = h.account_id`, host)
	return err
}

// SetLimit changes one limit of an account; nil takes it away.
func (t Tx) SetLimit(ctx context.Context, account int32, r domain.Resource, limit *int32) error {
	column := "max_" + domain.Resources[r]
	_, err := t.Exec(ctx, `
		INSERT INTO account_usage (account_id, `+column+`) VALUES ($1, $2)
		ON CONFLICT (account_id) DO UPDATE SET `+column+` = excluded.`+column, account, limit)
	return err
}
