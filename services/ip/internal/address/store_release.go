package address

import (
	"context"
	"net/netip"
	"slices"

	"github.com/jackc/pgx/v5"

	ippb "slipway.dev/proto/ip/v3"

	"slipway.dev/pkg/unit"
	"slipway.dev/services/ip/internal/rdns"
	"slipway.dev/services/ip/internal/setting"
)

// change is an address whose owner changed: the owner, the generation and the name that it had.
type change struct {
	ID         int32
	IP         netip.Addr
	Owner      string
	Generation int32
	Domain     string
}

// confirm makes the reservations of an owner permanent, all or nothing: those of one claim, or with an empty key those
// of all claims. It succeeds if they are permanent already. The history of the addresses has the owner from then on.
func confirm(ctx context.Context, tx *unit.Tx, owner, key string) error {
	var held, lapsed int
	b := &pgx.Batch{}
	b.Queue(lockOwner, owner)
	b.Queue(`
		SELECT count(*), count(*) FILTER (WHERE until <= now())
		FROM (SELECT until FROM address WHERE owner = $1 AND ($2 = '' OR claim::text = $2) FOR UPDATE) a`, owner, key).
		QueryRow(func(row pgx.Row) error { return row.Scan(&held, &lapsed) })
	if err := tx.SendBatch(ctx, b).Close(); err != nil {
		return err
	}
	if held == 0 || lapsed > 0 {
		return errLapsed.With("the reservation of %s has expired", owner)
	}
	rows, err := tx.Query(ctx, `
		WITH done AS (
			UPDATE address SET state = 'assigned', until = NULL, rest_until = NULL
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
	done, err := pgx.CollectRows(rows, pgx.RowToStructByPos[change])
	if err != nil {
		return err
	}
	for _, a := range done {
		err := emit(ctx, tx, "ip.v3.address.assigned", a.IP, &ippb.AddressAssigned{Id: a.ID, IpAddr: a.IP.String(), Owner: a.Owner})
		if err != nil {
			return err
		}
	}
	return nil
}

// clearOwner are the assignments that take a row from its owner. In a row without an owner they change only the
// generation.
const clearOwner = `owner = NULL, claim = NULL, account_id = NULL, position = NULL, interface = 0, domain = '',
	ptr_serial = a.ptr_serial + 1, generation = a.generation + 1, rest_until = NULL`

// surrender says which addresses an owner gives back.
type surrender struct {
	Owner  string
	Key    string        // those of this claim; "": of all claims
	Named  []heldAddress // these, in the generation in which the owner got them; empty: all
	Unused bool          // no machine has used them
	Hold   string        // hold them with this note; "": free them
}

// release takes addresses from their owner, if the owner still has them. Those that a machine may have used go into
// quarantine, the others are free at once: reservations that were never confirmed, and all if the owner says that they
// are unused. With a note they are held instead. A quarantine that a wish interrupted goes on. release returns how many
// addresses it took and which of the named ones it did not take. The quarantine lasts as long as the setting says, and seconds while the setting has
// its default.
func release(ctx context.Context, tx *unit.Tx, r surrender, seconds int) (n int, refused []int32, err error) {
	ids, generations := make([]int32, len(r.Named)), make([]int32, len(r.Named))
	for i, h := range r.Named {
		ids[i], generations[i] = h.ID, h.Generation
	}
	var gone []change
	b := &pgx.Batch{}
	b.Queue(lockOwner, r.Owner)
	b.Queue(`
		WITH quarantine AS MATERIALIZED (
			SELECT coalesce(`+setting.Quarantine+`, $5) AS seconds
		), old AS MATERIALIZED (
			SELECT id, ip, generation, domain, greatest(rest_until,
				CASE WHEN state = 'assigned' AND NOT $6 AND seconds > 0 THEN now() + make_interval(secs => seconds) END) AS until
			FROM address, quarantine
			WHERE owner = $1 AND ($2 = '' OR claim::text = $2)
			  AND (cardinality($3::integer[]) = 0 OR EXISTS (
				SELECT FROM unnest($3, $4::integer[]) x(id, generation)
				WHERE x.id = address.id AND x.generation IN (0, address.generation)))
			ORDER BY id FOR UPDATE OF address
		), back AS (
			UPDATE address a SET `+clearOwner+`,
				state = CASE WHEN $7 <> '' THEN 'reserved' WHEN old.until > now() THEN 'quarantined' ELSE 'free' END,
				until = CASE WHEN $7 = '' AND old.until > now() THEN old.until END, note = $7
			FROM old WHERE a.id = old.id AND (family(a.ip) = 4 OR old.until > now() OR $7 <> '')
		), gone6 AS (
			DELETE FROM address a USING old
			WHERE a.id = old.id AND family(a.ip) = 6 AND (old.until > now()) IS NOT TRUE AND $7 = ''
		), ended AS (
			UPDATE address_history h SET released_at = now() FROM old WHERE h.address_id = old.id AND h.released_at IS NULL
		)
		SELECT id, ip, $1::text, generation, domain FROM old`, r.Owner, r.Key, ids, generations, seconds, r.Unused, r.Hold).
		Query(func(rows pgx.Rows) (err error) {
			gone, err = pgx.CollectRows(rows, pgx.RowToStructByPos[change])
			return err
		})
	if err := tx.SendBatch(ctx, b).Close(); err != nil {
		return 0, nil, err
	}
	for _, id := range ids {
		if !slices.ContainsFunc(gone, func(a change) bool { return a.ID == id }) {
			refused = append(refused, id)
		}
	}
	return len(gone), refused, emitReleased(ctx, tx, gone)
}

// emitReleased emits that addresses lost their owner, and removes their names.
func emitReleased(ctx context.Context, tx *unit.Tx, gone []change) error {
	for _, a := range gone {
		if a.Domain != "" {
			if err := rdns.Set(ctx, tx, a.IP, ""); err != nil {
				return err
			}
		}
		err := emit(ctx, tx, "ip.v3.address.released", a.IP, &ippb.AddressReleased{
			Id: a.ID, IpAddr: a.IP.String(), Owner: a.Owner, Generation: a.Generation,
		})
		if err != nil {
			return err
		}
	}
	return nil
}
