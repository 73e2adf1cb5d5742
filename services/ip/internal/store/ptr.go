package store

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"github.com/jackc/pgx/v5"

	ippb "slipway.dev/proto/ip/v3"

	"slipway.dev/services/ip/internal/domain"
)

// SetPTR names an address that somebody has, and returns the number of the change. An owner that is given must be the
// one that has it.
func (t Tx) SetPTR(ctx context.Context, id int32, owner, name string) (serial int32, err error) {
	var ip netip.Addr
	var state, has string
	err = t.QueryRow(ctx, `
		SELECT ip, state, coalesce(owner::text, '') FROM address WHERE id = $1 FOR UPDATE`, id).Scan(&ip, &state, &has)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return 0, noAddress(id)
	case err != nil:
		return 0, err
	case owner != "" && has != owner:
		return 0, domain.ErrNotHis.With("the address %s now has another owner", ip)
	case state == domain.StateFree, state == domain.StateQuarantined:
		return 0, domain.ErrNotHis.With("the address %s has no owner", ip)
	}
	err = t.QueryRow(ctx, `
		UPDATE address SET domain = $2, ptr_serial = ptr_serial + 1 WHERE id = $1 RETURNING ptr_serial`, id, name).Scan(&serial)
	if err != nil {
		return 0, err
	}
	if err := t.wantPTR(ctx, ip, name); err != nil {
		return 0, err
	}
	return serial, t.emit(ctx, "ip.v3.address.named", ip, &ippb.AddressNamed{Id: id, IpAddr: ip.String(), Domain: name, Serial: serial})
}

// wantPTR makes name what the name servers shall say of ip. What they surely say already needs no telling.
func (t Tx) wantPTR(ctx context.Context, ip netip.Addr, name string) error {
	_, err := t.Exec(ctx, `
		INSERT INTO ptr (ip, wanted, due) VALUES ($1, $2, CASE WHEN $2 <> '' THEN now() END)
		ON CONFLICT (ip) DO UPDATE SET wanted = excluded.wanted,
			due = CASE WHEN ptr.published <> excluded.wanted OR ptr.attempt > 0 THEN now() END`, ip, name)
	if err == nil && name == "" {
		_, err = t.Exec(ctx, `DELETE FROM ptr WHERE ip = $1 AND due IS NULL AND wanted = ''`, ip)
	}
	return err
}

// PTR is a record to publish. Attempt fences off a publisher that was too slow.
type PTR struct {
	IP      netip.Addr
	Name    string // empty: the record goes
	Attempt int32
}

// lease is how long a publisher has to tell the name servers before another one tries.
const lease = 30 * time.Second

// TakePTRs takes records that are due.
func (s *Store) TakePTRs(ctx context.Context, most int) ([]PTR, error) {
	rows, err := s.pool.Query(ctx, `
		UPDATE ptr SET attempt = attempt + 1, due = now() + $2::interval
		WHERE ip IN (SELECT ip FROM ptr WHERE due <= now() ORDER BY due LIMIT $1 FOR UPDATE SKIP LOCKED)
		RETURNING ip, wanted, attempt`, most, lease)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[PTR])
}

// PublishedPTR records what the name servers have confirmed.
func (s *Store) PublishedPTR(ctx context.Context, p PTR) error {
	_, err := s.pool.Exec(ctx, `
		UPDATE ptr SET published = $2, attempt = 0, due = CASE WHEN wanted <> $2 THEN now() END
		WHERE ip = $1 AND attempt = $3`, p.IP, p.Name, p.Attempt)
	if err == nil && p.Name == "" {
		_, err = s.pool.Exec(ctx, `DELETE FROM ptr WHERE ip = $1 AND due IS NULL AND wanted = ''`, p.IP)
	}
	return err
}

// FailedPTR says when to try again.
func (s *Store) FailedPTR(ctx context.Context, p PTR, wait time.Duration) error {
	_, err := s.pool.Exec(ctx, `
		UPDATE ptr SET due = now() + $3::interval WHERE ip = $1 AND attempt = $2 AND wanted = $4`, p.IP, p.Attempt, wait, p.Name)
	return err
}
