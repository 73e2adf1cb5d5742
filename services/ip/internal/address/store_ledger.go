package address

import (
	"context"
	"net/netip"
	"time"

	"github.com/jackc/pgx/v5"

	"slipway.dev/pkg/fsck"
	"slipway.dev/pkg/unit"
)

// held is an address that has an owner.
type held struct {
	ID       int32
	IP       netip.Addr
	Owner    string
	Assigned bool
	Account  int32
}

// heldPage is the length of a page.
const heldPage = 1000

// heldAfter returns a page of the addresses that have an owner, those with a larger id than after.
func heldAfter(ctx context.Context, db *unit.DB, after int32) ([]held, error) {
	rows, err := db.Query(ctx, `
		SELECT id, ip, owner::text, state = 'assigned', coalesce(account_id, 0) FROM address
		WHERE owner IS NOT NULL AND id > $1 ORDER BY id LIMIT $2`, after, heldPage)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[held])
}

// overdueAfter is how late an address may become free. The sweep runs every few seconds.
const overdueAfter = time.Minute

// Overdue returns the check that finds addresses whose reservation or quarantine ended and that are not free yet.
// Claims take such addresses when no other is left, but something keeps the sweep from its work.
func Overdue(db *unit.DB) func(context.Context) ([]fsck.Finding, error) {
	return func(ctx context.Context) ([]fsck.Finding, error) { return overdue(ctx, db) }
}

func overdue(ctx context.Context, db *unit.DB) ([]fsck.Finding, error) {
	rows, err := db.Query(ctx, `
		SELECT host(ip), state || ' until ' || until FROM address
		WHERE until < now() - $1::interval ORDER BY until LIMIT 1000`, overdueAfter)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (fsck.Finding, error) {
		f := fsck.Finding{Kind: "address_overdue"}
		err := row.Scan(&f.Object, &f.Detail)
		f.Object = "address " + f.Object
		return f, err
	})
}
