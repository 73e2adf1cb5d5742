package address

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/pg"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/ip/internal/inet"
	"slipway.dev/services/ip/internal/pool"
)

// lockOwner makes units of work for one owner wait for each other.
const lockOwner = `SELECT pg_advisory_xact_lock(hashtextextended(current_schema() || ' owner ' || $1, 0))`

// errContended reports that there are too few free addresses, but that another unit of work may yet give some back.
var errContended = errors.New("too few free addresses, some are locked")

// claimer claims addresses.
type claimer struct {
	db      *unit.DB
	batcher *batcher
}

func newClaimer(db *unit.DB) *claimer { return &claimer{db: db, batcher: newBatcher(db)} }

// claim takes the addresses of a request, all or nothing, or returns those that were taken under its key already.
//
// The usual claim, some IPv4 addresses for a new owner, is one statement. A claim that needs more is a unit of work.
// Its first try skips rows that another unit of work has locked, so claims never wait for each other. When the first
// try finds too few addresses although some look free or are due to become free, a second try waits for those rows:
// the unit of work that holds the last free address may roll back.
func (m *claimer) claim(ctx context.Context, r request) (list []row, err error) {
	if r, err = m.resolve(ctx, r); err != nil {
		return nil, err
	}
	if list, ok := m.claimFast(ctx, r); ok {
		return list, nil
	}
	for wait, again := false, 0; again < 3; {
		err = m.db.InTx(ctx, func(tx *unit.Tx) error {
			list, err = (&claim{Tx: tx, request: r, wait: wait}).run(ctx)
			return err
		})
		switch {
		case errors.Is(err, errContended) && !wait:
			wait = true
		case pg.IsUnique(err, "address_position"):
			again++ // a fast claim of the same owner has committed meanwhile
		default:
			return list, err
		}
	}
	return list, err
}

// resolve finds the family of the network that a request names, and of the addresses that may be of any.
func (m *claimer) resolve(ctx context.Context, r request) (request, error) {
	if r.OfNetwork != 0 {
		err := m.db.QueryRow(ctx, familyOfNetwork, r.OfNetwork).Scan(&r.Family)
		if errors.Is(err, pgx.ErrNoRows) {
			return r, fault.Invalid.With("there is no network %d", r.OfNetwork).On("network_id")
		}
		switch {
		case err != nil:
			return r, err
		case r.Wish.IsValid() && inet.Family(r.Wish) != r.Family:
			return r, r.notOf()
		}
	}
	switch {
	case r.Any == 0:
		return r, nil
	case r.Family != 0:
		return r.settle(r.Family), nil
	}
	sql, arg := familyOfPools, any(r.Pools)
	if r.Pools == nil {
		sql, arg = familyOfCluster, r.Cluster
	}
	var family int32
	err := m.db.QueryRow(ctx, sql, arg).Scan(&family)
	return r.settle(family), err
}

// claim is one try. It locks in this order, so that tries do not wait in a circle: owner, pools (only a try that
// waits), IPv6 ranges, IPv4 addresses.
type claim struct {
	*unit.Tx
	request
	wait  bool // for rows that other units of work have locked
	base  int  // position of the first address that is taken
	pools []boundPool
	got   []row
}

// boundPool is a pool that serves the cluster.
type boundPool struct {
	ID        int32
	Name      string
	Interface int32
	Closed    bool // the pool belongs to another account
}

// run takes the addresses, or returns those that an earlier claim with the same key took.
func (c *claim) run(ctx context.Context) ([]row, error) {
	had, err := c.load(ctx)
	if err != nil {
		return nil, err
	}
	if had {
		return c.renew(ctx)
	}
	if c.wait || c.Wish.IsValid() {
		if err := c.freeDue(ctx); err != nil {
			return nil, err
		}
	}
	if err := c.takeIPv6(ctx); err != nil {
		return nil, err
	}
	if err := c.takeIPv4(ctx); err != nil {
		return nil, err
	}
	slices.SortFunc(c.got, func(a, b row) int { return cmp.Compare(a.Position, b.Position) })
	return c.got, nil
}

// load locks the owner and loads its position and the pools, in one round trip. had is true if the key was used
// already.
func (c *claim) load(ctx context.Context) (had bool, err error) {
	var b pgx.Batch
	b.Queue(lockOwner, c.Owner)
	b.Queue(`
		SELECT coalesce(max(position) + 1, 0), coalesce(bool_or(claim = $2), false)
		FROM (SELECT position, claim FROM address WHERE owner = $1 FOR UPDATE) a`, c.Owner, c.Key)
	if c.request.Pools == nil {
		b.Queue(poolsOfCluster, c.Cluster, c.Account)
	} else {
		b.Queue(poolsNamed, c.Cluster, c.Account, c.request.Pools)
	}
	r := c.SendBatch(ctx, &b)
	defer r.Close()
	if _, err := r.Exec(); err != nil {
		return false, fmt.Errorf("lock owner: %w", err)
	}
	if err := r.QueryRow().Scan(&c.base, &had); err != nil {
		return false, fmt.Errorf("load addresses of the owner: %w", err)
	}
	if had {
		return true, nil
	}
	rows, err := r.Query()
	if err != nil {
		return false, fmt.Errorf("load pools: %w", err)
	}
	if c.pools, err = pgx.CollectRows(rows, pgx.RowToStructByPos[boundPool]); err != nil {
		return false, fmt.Errorf("load pools: %w", err)
	}
	return false, c.checkPools()
}

// checkPools refuses pools that the request names and that the claim may not take from. A pool of another account is refused
// like one that does not exist, so that nothing is learned of it.
func (c *claim) checkPools() error {
	for _, p := range c.pools {
		switch {
		case p.Name == "" || p.Closed:
			return fault.Invalid.With("there is no pool %d for account %d", p.ID, c.Account).On("pool_ids")
		case p.Interface < 0:
			return fault.Invalid.With("pool %d (%s) does not serve cluster %d", p.ID, p.Name, c.Cluster).On("pool_ids")
		}
	}
	return nil
}

// renew returns the addresses that were taken under the key and restarts the time in which they must be confirmed.
func (c *claim) renew(ctx context.Context) ([]row, error) {
	_, err := c.Exec(ctx, `
		UPDATE address SET until = now() + $3::interval WHERE owner = $1 AND claim = $2 AND state = 'reserved'`,
		c.Owner, c.Key, c.Lapse)
	if err != nil {
		return nil, err
	}
	rows, err := c.Query(ctx, `SELECT `+columns+` `+tables+`
		WHERE a.owner = $1 AND a.claim = $2 ORDER BY a.position`, c.Owner, c.Key)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByName[row])
}

func poolIDs(pools []boundPool) []int32 {
	ids := make([]int32, len(pools))
	for i, p := range pools {
		ids[i] = p.ID
	}
	return ids
}

// freeDue frees the addresses of the pools that are due. It locks the pools, so claims do so one after the other.
func (c *claim) freeDue(ctx context.Context) error {
	if err := pool.Lock(ctx, c.Tx, poolIDs(c.pools)); err != nil {
		return err
	}
	return freeDueOf(ctx, c.Tx, poolIDs(c.pools))
}

// errShort returns the fault for too few addresses of a family in pools. A try that did not wait gets errContended
// while an address of the pools looks free or is due to become free.
func (c *claim) errShort(ctx context.Context, family int32, pools []boundPool) error {
	if !c.wait {
		var maybe bool
		err := c.QueryRow(ctx, `
			SELECT $3::integer = 4 AND EXISTS (SELECT FROM address WHERE pool_id = ANY($1) AND state = 'free' AND `+ofNetwork+`)
			    OR EXISTS (SELECT FROM address WHERE pool_id = ANY($1) AND until <= now() AND family(ip) = $3 AND `+ofNetwork+`)`,
			poolIDs(pools), c.network(family), family).Scan(&maybe)
		if err != nil {
			return err
		}
		if maybe {
			return errContended
		}
	}
	if len(pools) == 0 {
		return errNoFree.With("cluster %d has no address pools", c.Cluster)
	}
	names := make([]string, len(pools))
	for i, p := range pools {
		names[i] = fmt.Sprintf("%d (%s)", p.ID, p.Name)
	}
	if id := c.network(family); id != 0 {
		return errNoFree.With("no free IPv%d address of network %d in the pools %s", family, id, strings.Join(names, ", "))
	}
	return errNoFree.With("no free IPv%d address for cluster %d in the pools %s", family, c.Cluster, strings.Join(names, ", "))
}
