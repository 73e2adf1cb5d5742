package rdns

import (
	"context"
	"net/netip"
	"time"

	"github.com/jackc/pgx/v5"

	"slipway.dev/pkg/unit"
)

// Set makes name the name that ip resolves to; "" removes the record. The publisher sends the change to the name server
// after the commit, unless the name server has confirmed that name already.
func Set(ctx context.Context, tx *unit.Tx, ip netip.Addr, name string) error {
	_, err := tx.Exec(ctx, `
		INSERT INTO ptr (ip, wanted, due) VALUES ($1, $2, CASE WHEN $2 <> '' THEN now() END)
		ON CONFLICT (ip) DO UPDATE SET wanted = excluded.wanted, failures = 0, error = '',
			due = CASE WHEN ptr.published <> excluded.wanted OR ptr.attempt > 0 THEN now() END`, ip, name)
	if err == nil && name == "" {
		_, err = tx.Exec(ctx, `DELETE FROM ptr WHERE ip = $1 AND due IS NULL AND wanted = ''`, ip)
	}
	return err
}

// record is a PTR record to publish. Attempt fences off a publisher that was too slow.
type record struct {
	IP      netip.Addr
	Name    string // empty: the record is removed
	Attempt int32
	// Failures is how many attempts failed since the record was last set.
	Failures int32
}

// lease is how long a publisher has for one attempt before another publisher tries.
const lease = 30 * time.Second

// lock leases up to limit records that are due.
func lock(ctx context.Context, db *unit.DB, limit int) ([]record, error) {
	rows, err := db.Query(ctx, `
		UPDATE ptr SET attempt = attempt + 1, due = now() + $2::interval
		WHERE ip IN (SELECT ip FROM ptr WHERE due <= now() ORDER BY due LIMIT $1 FOR UPDATE SKIP LOCKED)
		RETURNING ip, wanted, attempt, failures`, limit, lease)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[record])
}

// published records that the name server has confirmed r.
func published(ctx context.Context, db *unit.DB, r record) error {
	_, err := db.Exec(ctx, `
		UPDATE ptr SET published = $2, attempt = 0, failures = 0, error = '', due = CASE WHEN wanted <> $2 THEN now() END
		WHERE ip = $1 AND attempt = $3`, r.IP, r.Name, r.Attempt)
	if err == nil && r.Name == "" {
		_, err = db.Exec(ctx, `DELETE FROM ptr WHERE ip = $1 AND due IS NULL AND wanted = ''`, r.IP)
	}
	return err
}

// failed records why an attempt failed, as the API says it, and schedules the next one after wait.
func failed(ctx context.Context, db *unit.DB, r record, why string, wait time.Duration) error {
	_, err := db.Exec(ctx, `
		UPDATE ptr SET due = now() + $3::interval, failures = failures + 1, error = $5
		WHERE ip = $1 AND attempt = $2 AND wanted = $4`, r.IP, r.Attempt, wait, r.Name, why)
	return err
}
