package address

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/stamp"
	"slipway.dev/services/ip/internal/inet"
	"slipway.dev/services/ip/internal/pool"
)

// take gives the owner up to n rows of a family that the condition which selects, with positions from at on, and
// returns how many.
func (c *claim) take(ctx context.Context, which string, family, key int32, n, at int, iface int32) (int, error) {
	rows, err := c.Query(ctx, takeRows(which), key, c.network(family), n, c.Owner, c.Key, c.Account, c.base+at, iface, c.Lapse)
	if err != nil {
		return 0, err
	}
	got, err := pgx.CollectRows(rows, pgx.RowToStructByName[row])
	c.got = append(c.got, got...)
	return len(got), err
}

// takeIPv4 takes the wished address, then the missing ones, pool by pool.
func (c *claim) takeIPv4(ctx context.Context) error {
	if c.Wish.Is4() {
		if err := c.takeWish(ctx, c.pools, nil); err != nil {
			return err
		}
	}
	which := lowest
	if c.wait {
		which = lowestWait
	}
	have := c.have(4)
	for _, p := range c.pools {
		if have == c.IPv4 {
			return nil
		}
		n, err := c.take(ctx, which, 4, p.ID, c.IPv4-have, have, p.Interface)
		if err != nil {
			return err
		}
		have += n
	}
	if have < c.IPv4 {
		return c.errShort(ctx, 4, c.pools)
	}
	return nil
}

// have returns how many addresses of a family the claim has taken.
func (c *claim) have(family int32) (n int) {
	for _, a := range c.got {
		if inet.Family(a.IP) == family {
			n++
		}
	}
	return n
}

// takeIPv6 takes the wished address, then the missing ones, pool by pool and range by range. It locks the ranges, so it
// never reports too few addresses because of another claim.
func (c *claim) takeIPv6(ctx context.Context) error {
	if c.IPv6 == 0 {
		return nil
	}
	pools, ranges, err := c.ranges(ctx)
	if err != nil {
		return err
	}
	if c.Wish.Is6() {
		if err := c.takeWish(ctx, pools, ranges); err != nil {
			return err
		}
	}
	for _, p := range pools {
		for _, r := range ranges {
			if r.PoolID != p.ID {
				continue
			}
			if err := c.takeFrom(ctx, r, p.Interface); err != nil {
				return err
			}
		}
	}
	if c.have(6) < c.IPv6 {
		return c.errShort(ctx, 6, pools)
	}
	return nil
}

// ranges locks the IPv6 ranges of the claim's pools. Pools that have none are named for the IPv4 addresses: then it
// locks those of all pools of the cluster.
func (c *claim) ranges(ctx context.Context) ([]boundPool, []pool.Range, error) {
	list, err := pool.LockIPv6(ctx, c.Tx, poolIDs(c.pools), c.network(6))
	if err != nil || len(list) > 0 || c.request.Pools == nil || c.IPv4 == 0 {
		return c.pools, list, err
	}
	rows, err := c.Query(ctx, poolsOfCluster, c.Cluster, c.Account)
	if err != nil {
		return nil, nil, err
	}
	pools, err := pgx.CollectRows(rows, pgx.RowToStructByPos[boundPool])
	if err != nil {
		return nil, nil, err
	}
	list, err = pool.LockIPv6(ctx, c.Tx, poolIDs(pools), c.network(6))
	return pools, list, err
}

// takeFrom takes the missing addresses from r, as far as r has free ones.
func (c *claim) takeFrom(ctx context.Context, r pool.Range, iface int32) error {
	for have := c.have(6); have < c.IPv6; have++ {
		ip, err := c.next(ctx, r)
		if err != nil {
			return err
		}
		if !ip.IsValid() {
			return nil
		}
		r.Next = after(r, ip)
		if err := c.insertIPv6(ctx, r, ip, have, iface); err != nil {
			return err
		}
	}
	return nil
}

// next returns a free address of r, or the zero Addr: it searches from the cursor to the end, then from the beginning.
// It never enumerates the range; it only steps over used addresses next to each other.
func (c *claim) next(ctx context.Context, r pool.Range) (netip.Addr, error) {
	first := r.First
	if inet.Reserved(r.CIDR, first) {
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

// gapBatch is how many used addresses gap loads at once.
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
		from = inet.Gap(from, used)
		if !from.IsValid() || to.Less(from) {
			return netip.Addr{}, nil
		}
		if len(used) < gapBatch || used[gapBatch-1].Next() != from {
			return from, nil
		}
	}
}

// insertIPv6 gives the owner ip, as the at-th of its IPv6 addresses, and moves the cursor of the range to r.Next.
func (c *claim) insertIPv6(ctx context.Context, r pool.Range, ip netip.Addr, at int, iface int32) error {
	rows, err := c.Query(ctx, insertIPv6, r.ID, r.Next, ip, c.Owner, c.Key, c.Account, c.base+c.IPv4+at, iface, c.Lapse)
	if err != nil {
		return err
	}
	got, err := pgx.CollectRows(rows, pgx.RowToStructByName[row])
	c.got = append(c.got, got...)
	return err
}

// after returns where the search continues after ip was taken.
func after(r pool.Range, ip netip.Addr) netip.Addr {
	next := ip.Next()
	if !next.IsValid() || r.Last.Less(next) {
		return r.First
	}
	return next
}

// takeWish takes exactly the wished address, which is in one of the pools. One in quarantine is given only to the
// account that had it last. ranges are the IPv6 ranges of the pools; their cursors do not move.
func (c *claim) takeWish(ctx context.Context, pools []boundPool, ranges []pool.Range) error {
	errForeign := fault.Invalid.With("%s is in no pool that serves cluster %d", c.Wish, c.Cluster).On("wish")
	var id, poolID, former int32
	var state string
	var until *time.Time
	err := c.QueryRow(ctx, wished, c.Wish).Scan(&id, &poolID, &state, &until, &former)
	if errors.Is(err, pgx.ErrNoRows) {
		i := slices.IndexFunc(ranges, func(r pool.Range) bool { return r.Gives(c.Wish) })
		if i < 0 {
			return errForeign
		}
		ranges, poolID, state = ranges[i:], ranges[i].PoolID, stateFree
	} else if err != nil {
		return err
	}
	at := slices.IndexFunc(pools, func(p boundPool) bool { return p.ID == poolID })
	switch {
	case at < 0:
		return errForeign
	case state == stateGateway || state == stateNetwork || state == stateBroadcast:
		return fault.Invalid.With("%s is the %s address of its network", c.Wish, state).On("wish")
	case state == stateQuarantined && (former == 0 || former != c.Account):
		return errQuarantined.With("%s is in quarantine until %s", c.Wish, stamp.Text(*until)).On("wish")
	case state != stateFree && state != stateQuarantined:
		return errTaken.With("%s is taken", c.Wish).On("wish")
	case id == 0:
		return c.insertIPv6(ctx, ranges[0], c.Wish, 0, pools[at].Interface)
	}
	position := 0
	if c.Wish.Is6() {
		position = c.IPv4
	}
	if n, err := c.take(ctx, thisOne, inet.Family(c.Wish), id, 1, position, pools[at].Interface); err != nil || n == 1 {
		return err
	}
	return c.notOf()
}
