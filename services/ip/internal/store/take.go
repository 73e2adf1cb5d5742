package store

import (
	"context"
	"errors"
	"net/netip"
	"slices"

	"github.com/jackc/pgx/v5"

	"slipway.dev/pkg/fault"
	"slipway.dev/services/ip/internal/domain"
)

// Rows to take: the lowest free ones of a pool, or one certain row.
const (
	lowest       = `pool_id = $1 AND state = 'free' AND ` + ofNetwork + ` ORDER BY ip LIMIT $3 FOR UPDATE SKIP LOCKED`
	lowestWaited = `pool_id = $1 AND state = 'free' AND ` + ofNetwork + ` ORDER BY ip LIMIT $3 FOR UPDATE`
	thisOne      = `id = $1 AND state = 'free' AND ` + ofNetwork + ` LIMIT $3 FOR UPDATE`

	// ofNetwork holds for rows of network $2, and for all when that is 0.
	ofNetwork = `($2 = 0 OR range_id IN (SELECT id FROM pool_range WHERE network_id = $2))`
)

// take makes up to n rows the owner's, with positions from at on.
func (c *claim) take(ctx context.Context, which string, key int32, n, at int, iface int32) (int, error) {
	rows, err := c.Query(ctx, `
		WITH picked AS MATERIALIZED (
			SELECT id, ip FROM address WHERE `+which+`
		), numbered AS (
			SELECT id, (row_number() OVER (ORDER BY ip) - 1)::integer AS n FROM picked
		)
		UPDATE address a SET state = 'reserved', owner = $4, claim = $5, account_id = nullif($6, 0),
			position = $7 + k.n, interface = $8, until = now() + $9::interval, generation = a.generation + 1
		FROM numbered k, pool_range r JOIN network n ON n.id = r.network_id
		WHERE a.id = k.id AND r.id = a.range_id
		RETURNING `+addressColumns, key, c.OfNetwork, n, c.Owner, c.Key, c.Account, c.base+at, iface, c.Lapse)
	if err != nil {
		return 0, err
	}
	got, err := pgx.CollectRows(rows, pgx.RowToStructByName[domain.Address])
	c.got = append(c.got, got...)
	return len(got), err
}

// takeIPv4 takes the wish, then what is still missing, pool by pool.
func (c *claim) takeIPv4(ctx context.Context) error {
	if c.Wish.Is4() {
		if err := c.wished(ctx, nil); err != nil {
			return err
		}
	}
	which := lowest
	if c.patient {
		which = lowestWaited
	}
	have := c.have(4)
	for _, p := range c.pools {
		if have == c.IPv4 {
			return nil
		}
		n, err := c.take(ctx, which, p.ID, c.IPv4-have, have, p.Interface)
		if err != nil {
			return err
		}
		have += n
	}
	if have < c.IPv4 {
		return c.short(ctx, 4)
	}
	return nil
}

func (c *claim) have(family int32) (n int) {
	for _, a := range c.got {
		if domain.Family(a.IP) == family {
			n++
		}
	}
	return n
}

// run6 is an IPv6 range, locked.
type run6 struct {
	ID, PoolID  int32
	First, Last netip.Addr
	Next        netip.Addr
	CIDR        netip.Prefix
}

func (r run6) contains(a netip.Addr) bool {
	return domain.Range{First: r.First, Last: r.Last}.Contains(a) && !domain.Reserved(r.CIDR, a)
}

// takeIPv6 takes the wish, then what is still missing, pool by pool and range by range. Who takes from a range holds its
// row, so an IPv6 range is never short by mistake. All ranges are locked at once and in one order: claims whose pools
// are in different orders would wait in a circle.
func (c *claim) takeIPv6(ctx context.Context) error {
	if c.IPv6 == 0 {
		return nil
	}
	rows, err := c.Query(ctx, `
		SELECT r.id, r.pool_id, r.first, r.last, r.next, n.cidr
		FROM pool_range r JOIN network n ON n.id = r.network_id
		WHERE r.pool_id = ANY($1) AND family(r.first) = 6 AND ($2 = 0 OR r.network_id = $2)
		ORDER BY r.id FOR NO KEY UPDATE OF r`, c.poolIDs(), c.OfNetwork)
	if err != nil {
		return err
	}
	runs, err := pgx.CollectRows(rows, pgx.RowToStructByPos[run6])
	if err != nil {
		return err
	}
	if c.Wish.Is6() {
		if err := c.wished(ctx, runs); err != nil {
			return err
		}
	}
	for _, p := range c.pools {
		for _, r := range runs {
			if r.PoolID != p.ID {
				continue
			}
			if err := c.takeFrom(ctx, r, p.Interface); err != nil {
				return err
			}
		}
	}
	if c.have(6) < c.IPv6 {
		return c.short(ctx, 6)
	}
	return nil
}

// takeFrom takes what is still missing and what r has of it.
func (c *claim) takeFrom(ctx context.Context, r run6, iface int32) error {
	for have := c.have(6); have < c.IPv6; have++ {
		ip, err := c.next(ctx, r)
		if err != nil {
			return err
		}
		if !ip.IsValid() {
			return nil
		}
		r.Next = after(r, ip)
		if err := c.insert6(ctx, r, ip, have, iface); err != nil {
			return err
		}
	}
	return nil
}

// next finds a free address of r: from the cursor to the end, then from the beginning. Nothing enumerates the range; only
// used addresses next to each other are stepped over.
func (c *claim) next(ctx context.Context, r run6) (netip.Addr, error) {
	first := r.First
	if domain.Reserved(r.CIDR, first) {
		first = first.Next()
	}
	from := r.Next
	if !from.IsValid() || from.Less(first) || r.Last.Less(from) {
		from = first
	}
	ip, err := c.gap(ctx, r.ID, from, r.Last)
	if err != nil || ip.IsValid() || from == first {
		return ip, err
	}
	return c.gap(ctx, r.ID, first, from.Prev())
}

const gapBatch = 256

// gap returns the first address between from and to that has no row; the zero Addr when there is none.
func (c *claim) gap(ctx context.Context, rangeID int32, from, to netip.Addr) (netip.Addr, error) {
	for {
		rows, err := c.Query(ctx, `
			SELECT ip FROM address WHERE range_id = $1 AND ip BETWEEN $2 AND $3 ORDER BY ip LIMIT $4`, rangeID, from, to, gapBatch)
		if err != nil {
			return netip.Addr{}, err
		}
		used, err := pgx.CollectRows(rows, pgx.RowTo[netip.Addr])
		if err != nil {
			return netip.Addr{}, err
		}
		from = domain.Gap(from, used)
		if !from.IsValid() || to.Less(from) {
			return netip.Addr{}, nil
		}
		if len(used) < gapBatch || used[gapBatch-1].Next() != from {
			return from, nil
		}
	}
}

// insert6 makes ip the owner's, the at-th of its IPv6 addresses, and moves the cursor to r.Next.
func (c *claim) insert6(ctx context.Context, r run6, ip netip.Addr, at int, iface int32) error {
	rows, err := c.Query(ctx, `
		WITH cursor AS (
			UPDATE pool_range SET next = $2 WHERE id = $1
		), a AS (
			INSERT INTO address (ip, range_id, pool_id, state, owner, claim, account_id, position, interface, until, generation)
			SELECT $3, id, pool_id, 'reserved', $4, $5, nullif($6, 0), $7, $8, now() + $9::interval, 1
			FROM pool_range WHERE id = $1
			RETURNING *
		)
		SELECT `+addressColumns+` FROM a JOIN pool_range r ON r.id = a.range_id JOIN network n ON n.id = r.network_id`,
		r.ID, r.Next, ip, c.Owner, c.Key, c.Account, c.base+c.IPv4+at, iface, c.Lapse)
	if err != nil {
		return err
	}
	got, err := pgx.CollectRows(rows, pgx.RowToStructByName[domain.Address])
	c.got = append(c.got, got...)
	return err
}

// after is where the search goes on when ip was found.
func after(r run6, ip netip.Addr) netip.Addr {
	next := ip.Next()
	if !next.IsValid() || r.Last.Less(next) {
		return r.First
	}
	return next
}

// wished takes exactly the wish. runs are the IPv6 ranges that it may be in; their cursors stay where they are.
func (c *claim) wished(ctx context.Context, runs []run6) error {
	foreign := fault.Invalid.With("%s is in no pool that serves cluster %d", c.Wish, c.Cluster).On("wish")
	var id, pool int32
	var state string
	err := c.QueryRow(ctx, `SELECT id, pool_id, state FROM address WHERE ip = $1 FOR UPDATE`, c.Wish).Scan(&id, &pool, &state)
	if errors.Is(err, pgx.ErrNoRows) {
		i := slices.IndexFunc(runs, func(r run6) bool { return r.contains(c.Wish) })
		if i < 0 {
			return foreign
		}
		runs, pool, state = runs[i:], runs[i].PoolID, domain.StateFree
	} else if err != nil {
		return err
	}
	p, ok := c.poolOf(pool)
	switch {
	case !ok:
		return foreign
	case state == domain.StateGateway || state == domain.StateNetwork || state == domain.StateBroadcast:
		return fault.Invalid.With("%s is the %s address of its network", c.Wish, state).On("wish")
	case state != domain.StateFree:
		return domain.ErrTaken.With("%s is taken", c.Wish).On("wish")
	case c.Wish.Is6():
		return c.insert6(ctx, runs[0], c.Wish, 0, p.Interface)
	}
	if n, err := c.take(ctx, thisOne, id, 1, 0, p.Interface); err != nil || n == 1 {
		return err
	}
	return fault.Invalid.With("%s is not of network %d", c.Wish, c.OfNetwork).On("wish")
}

func (c *claim) poolOf(id int32) (bound, bool) {
	for _, p := range c.pools {
		if p.ID == id {
			return p, true
		}
	}
	return bound{}, false
}
