package store

import (
	"context"
	"net/netip"
	"time"

	"github.com/jackc/pgx/v5"

	"slipway.dev/pkg/fsck"
)

// Held is an address that somebody holds.
type Held struct {
	ID       int32
	IP       netip.Addr
	Owner    string
	Assigned bool
}

const heldPage = 1000

// Held returns a page of the addresses that somebody holds, those after this id.
func (s *Store) Held(ctx context.Context, after int32) ([]Held, error) {
	rows, err := s.pool.Query(ctx, `
		SELECT id, ip, owner::text, state = 'assigned' FROM address
		WHERE owner IS NOT NULL AND id > $1 ORDER BY id LIMIT $2`, after, heldPage)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[Held])
}

// overdueAfter is how late an address may become free; the sweep looks every few seconds.
const overdueAfter = time.Minute

// Overdue finds addresses whose reservation or quarantine ended and that are not free yet. They are claimed when others
// run out, but something keeps the sweep from its work.
func (s *Store) Overdue(ctx context.Context) ([]fsck.Finding, error) {
	rows, err := s.pool.Query(ctx, `
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
