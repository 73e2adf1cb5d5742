package account

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"slipway.dev/pkg/pg"
	"slipway.dev/pkg/unit"
)

// described is what auth says of an account.
type described interface {
	GetId() int32
	GetEmail() string
	GetRoles() []string
	GetState() string
}

// keep stores what auth says of an account. An account that was deleted stays away, whenever that was said.
func keep(ctx context.Context, tx *unit.Tx, u described) error {
	_, err := tx.Exec(ctx, `
		INSERT INTO account (id, email, roles, state) SELECT $1, $2, $3, $4
		WHERE NOT EXISTS (SELECT FROM account_usage WHERE account_id = $1 AND left_at IS NOT NULL)
		ON CONFLICT (id) DO UPDATE SET email = excluded.email, roles = excluded.roles, state = excluded.state`,
		u.GetId(), u.GetEmail(), append([]string{}, u.GetRoles()...), u.GetState())
	return err
}

// limits reads what an account may use and does use.
func limits(ctx context.Context, db pg.DB, account int32) (l Limits, err error) {
	err = db.QueryRow(ctx, `SELECT `+LimitColumns+` FROM account_usage u WHERE account_id = $1`, account).Scan(l.Dest()...)
	if errors.Is(err, pgx.ErrNoRows) {
		return Limits{}, nil // no host yet, no limit
	}
	return l, err
}

// LimitColumns are the columns of account_usage u that Limits.Dest scans. With no row nothing is used and nothing is a
// limit.
const LimitColumns = `u.max_host_count, u.max_cpu_number, u.max_ram_mib, u.max_hdd_mib, u.max_ipv4_number, coalesce(u.host_count, 0),
	coalesce(u.cpu_number, 0), coalesce(u.ram_mib, 0), coalesce(u.hdd_mib, 0), coalesce(u.ipv4_number, 0), u.left_at IS NOT NULL`

// Dest returns the destinations of LimitColumns.
func (l *Limits) Dest() []any {
	m, u := &l.Max, &l.Used
	return []any{&m[0], &m[1], &m[2], &m[3], &m[4], &u[0], &u[1], &u[2], &u[3], &u[4], &l.Left}
}

// charge adds to what an account uses. It changes no row when that goes beyond a limit, or the account was deleted.
const charge = `
	INSERT INTO account_usage AS u (account_id, host_count, cpu_number, ram_mib, hdd_mib, ipv4_number)
	VALUES ($1, $2, $3, $4, $5, $6)
	ON CONFLICT (account_id) DO UPDATE SET
		host_count = u.host_count + $2, cpu_number = u.cpu_number + $3, ram_mib = u.ram_mib + $4,
		hdd_mib = u.hdd_mib + $5, ipv4_number = u.ipv4_number + $6
	WHERE u.left_at IS NULL
	  AND ($2 <= 0 OR u.host_count + $2 <= coalesce(u.max_host_count, u.host_count + $2))
	  AND ($3 <= 0 OR u.cpu_number + $3 <= coalesce(u.max_cpu_number, u.cpu_number + $3))
	  AND ($4 <= 0 OR u.ram_mib + $4 <= coalesce(u.max_ram_mib, u.ram_mib + $4))
	  AND ($5 <= 0 OR u.hdd_mib + $5 <= coalesce(u.max_hdd_mib, u.hdd_mib + $5))
	  AND ($6 <= 0 OR u.ipv4_number + $6 <= coalesce(u.max_ipv4_number, u.ipv4_number + $6))`

// Charge adds to what an account uses, and refuses what goes beyond a limit. The account's row is locked from here to
// the commit: Charge comes late in a unit of work, and before a node's row is locked.
func Charge(ctx context.Context, tx *unit.Tx, account int32, add Usage) error {
	for {
		tag, err := tx.Exec(ctx, charge, account, add[0], add[1], add[2], add[3], add[4])
		if err != nil || tag.RowsAffected() > 0 {
			return err
		}
		if err := Allow(ctx, tx, account, add); err != nil {
			return err
		}
		// A host was deleted meanwhile: its share is free now.
	}
}

// QueueCharge is Charge as a part of b. done is true after the batch if no limit was in the way; if one was, Allow
// names it.
func QueueCharge(b *pgx.Batch, account int32, add Usage, done *bool) {
	b.Queue(charge, account, add[0], add[1], add[2], add[3], add[4]).
		Exec(func(tag pgconn.CommandTag) error { *done = tag.RowsAffected() > 0; return nil })
}

// Allow refuses an addition that now goes beyond a limit of the account, and names the limit.
func Allow(ctx context.Context, db pg.DB, account int32, add Usage) error {
	l, err := limits(ctx, db, account)
	if err != nil {
		return err
	}
	return l.Allow(add)
}

// QueueRefund takes back from what an account uses, as a part of b.
func QueueRefund(b *pgx.Batch, account int32, back Usage) {
	b.Queue(`
		UPDATE account_usage SET host_count = host_count - $2, cpu_number = cpu_number - $3, ram_mib = ram_mib - $4,
			hdd_mib = hdd_mib - $5, ipv4_number = ipv4_number - $6
		WHERE account_id = $1`, account, back[0], back[1], back[2], back[3], back[4])
}

// spareLimits reads the limits of an account on what accounts cannot have yet.
func spareLimits(ctx context.Context, db pg.DB, account int32) (l Spare, err error) {
	err = db.QueryRow(ctx, `SELECT max_image_count, max_vxlan_count FROM account_usage WHERE account_id = $1`, account).
		Scan(&l.Images, &l.VXLANs)
	if errors.Is(err, pgx.ErrNoRows) {
		return Spare{}, nil
	}
	return l, err
}

// setLimit changes the limit of this name of an account; nil removes the limit. The name is one of the program, never text
// of a request.
func setLimit(ctx context.Context, tx *unit.Tx, account int32, name string, limit *int32) error {
	column := "max_" + name
	_, err := tx.Exec(ctx, `
		INSERT INTO account_usage (account_id, `+column+`) VALUES ($1, $2)
		ON CONFLICT (account_id) DO UPDATE SET `+column+` = excluded.`+column, account, limit)
	return err
}
