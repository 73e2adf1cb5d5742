package store

import (
	"context"
	"net/netip"
	"slices"

	"github.com/jackc/pgx/v5"

	ippb "slipway.dev/proto/ip/v3"

	"slipway.dev/services/ip/internal/domain"
)

// ref is an address and who had it, in which generation and under which name.
type ref struct {
	ID         int32
	IP         netip.Addr
	Owner      string
	Generation int32
	Domain     string
}

// Confirm makes reservations of an owner permanent, or none of them: those of one claim, or with an empty key all. That
// they are already is no fault. From now on the owner is in the address's history.
func (t Tx) Confirm(ctx context.Context, owner, key string) error {
	var held, lapsed int
	b := &pgx.Batch{}
	b.Queue(lockOwner, owner)
	b.Queue(`
		SELECT count(*), count(*) FILTER (WHERE until <= now())
		FROM (SELECT until FROM address WHERE owner = $1 AND ($2 = '' OR claim::text = $2) FOR UPDATE) a`, owner, key).
		QueryRow(func(row pgx.Row) error { return row.Scan(&held, &lapsed) })
	if err := t.SendBatch(ctx, b).Close(); err != nil {
		return err
	}
	if held == 0 || lapsed > 0 {
		return domain.ErrLapsed.With("the reservation of %s has expired", owner)
	}
	rows, err := t.Query(ctx, `
		WITH done AS (
			UPDATE address SET state = 'assigned', until = NULL
			WHERE owner = $1 AND state = 'reserved' AND ($2 = '' OR claim::text = $2)
			RETURNING id, ip, owner, generation, account_id
		), remembered AS (
			INSERT INTO address_history (address_id, ip, owner, account_id, generation)
			SELECT id, ip, owner, account_id, generation FROM done
		)
		SELECT id, ip, owner::text, generation, '' FROM done`, owner, key)
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

// freed is what a row becomes when its owner is gone; where it has none, nothing changes but the generation.
const freed = `owner = NULL, claim = NULL, account_id = NULL, position = NULL, interface = 0, domain = '',
	ptr_serial = a.ptr_serial + 1, generation = a.generation + 1`

// Release takes addresses from their owner, if it is the owner still, and puts them into quarantine: those of one claim,
// those that are named, in the generation in which the owner got them, or all. It answers how many it took and which of
// the named it did not. The quarantine lasts as long as the setting says, or without one so many seconds.
func (t Tx) Release(ctx context.Context, owner, key string, named []domain.Held, seconds int) (n int, refused []int32, err error) {
	ids, generations := make([]int32, len(named)), make([]int32, len(named))
	for i, h := range named {
		ids[i], generations[i] = h.ID, h.Generation
	}
	var gone []ref
	b := &pgx.Batch{}
	b.Queue(lockOwner, owner)
	b.Queue(`
		WITH setting AS MATERIALIZED (
			SELECT coalesce((SELECT value::integer FROM setting WHERE name = 'quarantine_seconds'), $5) AS seconds
		), old AS MATERIALIZED (
			SELECT id, ip, generation, domain FROM address
			WHERE owner = $1 AND ($2 = '' OR claim::text = $2)
			  AND (cardinality($3::integer[]) = 0 OR EXISTS (
				SELECT FROM unnest($3, $4::integer[]) x(id, generation)
				WHERE x.id = address.id AND x.generation IN (0, address.generation)))
			ORDER BY id FOR UPDATE
		), gone AS (
			UPDATE address a SET `+freed+`,
				state = CASE WHEN seconds > 0 OR family(a.ip) = 6 THEN 'quarantined' ELSE 'free' END,
				until = CASE WHEN seconds > 0 OR family(a.ip) = 6 THEN now() + make_interval(secs => seconds) END
			FROM old, setting WHERE a.id = old.id
		), ended AS (
			UPDATE address_history h SET released_at = now() FROM old WHERE h.address_id = old.id AND h.released_at IS NULL
		)
		SELECT id, ip, $1::text, generation, domain FROM old`, owner, key, ids, generations, seconds).
		Query(func(rows pgx.Rows) (err error) {
			gone, err = pgx.CollectRows(rows, pgx.RowToStructByPos[ref])
			return err
		})
	if err := t.SendBatch(ctx, b).Close(); err != nil {
		return 0, nil, err
	}
	for _, id := range ids {
		if !slices.ContainsFunc(gone, func(a ref) bool { return a.ID == id }) {
			refused = append(refused, id)
		}
	}
	return len(gone), refused, t.tellReleased(ctx, gone)
}

// tellReleased tells that addresses have no owner any more, and the name servers that they have no name.
func (t Tx) tellReleased(ctx context.Context, gone []ref) error {
	for _, a := range gone {
		if a.Domain != "" {
			if err := t.wantPTR(ctx, a.IP, ""); err != nil {
				return err
			}
		}
		err := t.emit(ctx, "ip.v3.address.released", a.IP, &ippb.AddressReleased{
			Id: a.ID, IpAddr: a.IP.String(), Owner: a.Owner, Generation: a.Generation,
		})
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
	rows, err := t.Query(ctx, `
		WITH due AS MATERIALIZED (
			SELECT id, ip, owner, generation, domain FROM address WHERE until <= now() AND `+which+`
		), free4 AS (
			UPDATE address a SET state = 'free', until = NULL, `+freed+`
			FROM due WHERE a.id = due.id AND family(a.ip) = 4
		), gone6 AS (
			DELETE FROM address a USING due WHERE a.id = due.id AND family(a.ip) = 6
		)
		SELECT id, ip, coalesce(owner::text, ''), generation, domain FROM due`, arg)
	if err != nil {
		return 0, err
	}
	due, err := pgx.CollectRows(rows, pgx.RowToStructByPos[ref])
	if err != nil {
		return 0, err
	}
	lapsed := slices.DeleteFunc(slices.Clone(due), func(a ref) bool { return a.Owner == "" })
	return len(due), t.tellReleased(ctx, lapsed)
}
