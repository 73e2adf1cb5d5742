package rdns

import (
	"context"
	"net/netip"
	"time"

	"github.com/jackc/pgx/v5"

	ippb "slipway.dev/proto/ip/v3"

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
	Error    string // of the attempt before
}

// lease is how long a publisher has for one attempt before another publisher tries.
const lease = 30 * time.Second

// lock leases up to limit records that are due.
func lock(ctx context.Context, db *unit.DB, limit int) ([]record, error) {
	rows, err := db.Query(ctx, `
		UPDATE ptr SET attempt = attempt + 1, due = now() + $2::interval
		WHERE ip IN (SELECT ip FROM ptr WHERE due <= now() ORDER BY due LIMIT $1 FOR UPDATE SKIP LOCKED)
		RETURNING ip, wanted, attempt, failures, error`, limit, lease)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[record])
}

// published records that the name server has confirmed r, and emits that.
func published(ctx context.Context, db *unit.DB, r record) error {
	return db.InTx(ctx, func(tx *unit.Tx) error {
		tag, err := tx.Exec(ctx, `
			UPDATE ptr SET published = $2, attempt = 0, failures = 0, error = '', due = CASE WHEN wanted <> $2 THEN now() END
			WHERE ip = $1 AND attempt = $3`, r.IP, r.Name, r.Attempt)
		if err != nil || tag.RowsAffected() == 0 {
			return err
		}
		if r.Name == "" {
			_, err := tx.Exec(ctx, `DELETE FROM ptr WHERE ip = $1 AND due IS NULL AND wanted = ''`, r.IP)
			return err
		}
		return emit(ctx, tx, r, "published", "")
	})
}

// failed records why an attempt failed, as the API says it, and schedules the next one after wait. It emits a reason
// that is not that of the attempt before.
func failed(ctx context.Context, db *unit.DB, r record, why string, wait time.Duration) error {
	return db.InTx(ctx, func(tx *unit.Tx) error {
		tag, err := tx.Exec(ctx, `
			UPDATE ptr SET due = now() + $3::interval, failures = failures + 1, error = $5
			WHERE ip = $1 AND attempt = $2 AND wanted = $4`, r.IP, r.Attempt, wait, r.Name, why)
		if err != nil || tag.RowsAffected() == 0 || r.Name == "" || r.Error == why {
			return err
		}
		return emit(ctx, tx, r, "failed", why)
	})
}

// emit emits what a name server made of a name. The caller has locked the record, which keeps the events in order.
func emit(ctx context.Context, tx *unit.Tx, r record, state, why string) error {
	return tx.Emit(ctx, "ip.v3.address.published", r.IP.String(), &ippb.AddressPublished{
		IpAddr: r.IP.String(), Domain: r.Name, State: state, Error: why,
	})
}
