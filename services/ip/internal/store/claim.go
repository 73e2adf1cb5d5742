package store

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
	"slipway.dev/services/ip/internal/domain"
)

// errMaybe says that addresses are short now, but that somebody else's unit of work may yet give one back.
var errMaybe = errors.New("short of addresses for the moment")

// Reserve takes what w wants, all or nothing, or returns what was taken under its key already.
//
// The usual claim, some IPv4 addresses for a new owner, is one statement. What that cannot settle is tried in a unit of
// work: first passing over rows that somebody works on, so claims never wait for each other. When it comes out short
// although some address looks free or due to be, a second try waits for those rows: the one who holds the last free
// address may roll back.
func (s *Store) Reserve(ctx context.Context, w domain.Want) (list []domain.Address, err error) {
	if list, ok := s.reserveAtOnce(ctx, w); ok {
		return list, nil
	}
	for patient, again := false, 0; again < 3; {
		err = s.InTx(ctx, func(t Tx) error {
			list, err = (&claim{Tx: t, Want: w, patient: patient}).run(ctx)
			return err
		})
		switch {
		case errors.Is(err, errMaybe) && !patient:
			patient = true
		case pg.IsUnique(err, "address_position"):
			again++ // the same owner by the short way: what it took is there now
		default:
			return list, err
		}
	}
	return list, err
}

// claim is one try. What it locks, it locks in this order, so that tries do not wait in a circle: owner, pools (the
// patient one), IPv6 ranges, IPv4 addresses.
type claim struct {
	Tx
	domain.Want
	patient bool
	base    int // position of the first address that is taken
	pools   []bound
	got     []domain.Address
}

// bound is a pool that the cluster may take from.
type bound struct {
	ID        int32
	Name      string
	Interface int32
	Closed    bool // it is another account's
}

func (c *claim) run(ctx context.Context) ([]domain.Address, error) {
	had, err := c.begin(ctx)
	if err != nil {
		return nil, err
	}
	if had {
		return c.renewed(ctx)
	}
	if c.patient || c.Wish.IsValid() {
		if err := c.settle(ctx); err != nil {
			return nil, err
		}
	}
	if err := c.takeIPv6(ctx); err != nil {
		return nil, err
	}
	if err := c.takeIPv4(ctx); err != nil {
		return nil, err
	}
	slices.SortFunc(c.got, func(a, b domain.Address) int { return cmp.Compare(a.Position, b.Position) })
	return c.got, nil
}

const (
	poolsOfCluster = `
		SELECT p.id, p.name, b.interface, false FROM pool_cluster b JOIN pool p ON p.id = b.pool_id
		WHERE b.cluster_id = $1 AND (p.account_id IS NULL OR p.account_id = $2) ORDER BY p.id`
	poolsNamed = `
		SELECT w.id, coalesce(p.name, ''), coalesce(b.interface, -1), coalesce(p.account_id <> $2, false)
		FROM unnest($3::integer[]) WITH ORDINALITY w(id, n)
		LEFT JOIN pool p ON p.id = w.id
		LEFT JOIN pool_cluster b ON b.pool_id = p.id AND b.cluster_id = $1 ORDER BY w.n`
)

// begin locks the owner, looks what it has, and finds the pools, in one round trip.
func (c *claim) begin(ctx context.Context) (had bool, err error) {
	var b pgx.Batch
	b.Queue(lockOwner, c.Owner)
	b.Queue(`
		SELECT coalesce(max(position) + 1, 0), coalesce(bool_or(claim = $2), false)
		FROM (SELECT position, claim FROM address WHERE owner = $1 FOR UPDATE) a`, c.Owner, c.Key)
	if c.Want.Pools == nil {
		b.Queue(poolsOfCluster, c.Cluster, c.Account)
	} else {
		b.Queue(poolsNamed, c.Cluster, c.Account, c.Want.Pools)
	}
	r := c.SendBatch(ctx, &b)
	defer r.Close()
	if _, err := r.Exec(); err != nil {
		return false, fmt.Errorf("lock owner: %w", err)
	}
	if err := r.QueryRow().Scan(&c.base, &had); err != nil {
		return false, fmt.Errorf("look for addresses of the owner: %w", err)
	}
	if had {
		return true, nil
	}
	rows, err := r.Query()
	if err != nil {
		return false, fmt.Errorf("find pools: %w", err)
	}
	if c.pools, err = pgx.CollectRows(rows, pgx.RowToStructByPos[bound]); err != nil {
		return false, fmt.Errorf("find pools: %w", err)
	}
	return false, c.checkPools()
}

func (c *claim) checkPools() error {
	for _, p := range c.pools {
		switch {
		case p.Name == "":
			return fault.Invalid.With("there is no pool %d", p.ID).On("ipv4_pool")
		case p.Interface < 0:
			return fault.Invalid.With("pool %d (%s) does not serve cluster %d", p.ID, p.Name, c.Cluster).On("ipv4_pool")
		case p.Closed:
			return fault.Invalid.With("pool %d (%s) serves another account", p.ID, p.Name).On("ipv4_pool")
		}
	}
	return nil
}

// renewed returns what was taken under the key; the time to confirm begins anew.
func (c *claim) renewed(ctx context.Context) ([]domain.Address, error) {
	_, err := c.Exec(ctx, `
		UPDATE address SET until = now() + $3::interval WHERE owner = $1 AND claim = $2 AND state = 'reserved'`,
		c.Owner, c.Key, c.Lapse)
	if err != nil {
		return nil, err
	}
	rows, err := c.Query(ctx, `SELECT `+addressColumns+` `+addressTables+`
		WHERE a.owner = $1 AND a.claim = $2 ORDER BY a.position`, c.Owner, c.Key)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByName[domain.Address])
}

func (c *claim) poolIDs() []int32 {
	ids := make([]int32, len(c.pools))
	for i, p := range c.pools {
		ids[i] = p.ID
	}
	return ids
}

// settle frees what is due in the pools, one claim after the other.
func (c *claim) settle(ctx context.Context) error {
	_, err := c.Exec(ctx, `SELECT FROM pool WHERE id = ANY($1) ORDER BY id FOR NO KEY UPDATE`, c.poolIDs())
	if err != nil {
		return err
	}
	return c.sweepPools(ctx, c.poolIDs())
}

// short is the answer when there are not enough addresses: final for the patient, and for the others when no address
// looks free in the pools, nor is due to be.
func (c *claim) short(ctx context.Context, family int) error {
	if !c.patient {
		var maybe bool
		err := c.QueryRow(ctx, `
			SELECT EXISTS (SELECT FROM address WHERE pool_id = ANY($1) AND state = 'free' AND `+ofNetwork+`)
			    OR EXISTS (SELECT FROM address WHERE pool_id = ANY($1) AND until <= now() AND `+ofNetwork+`)`, c.poolIDs(), c.OfNetwork).Scan(&maybe)
		if err != nil {
			return err
		}
		if maybe {
			return errMaybe
		}
	}
	if len(c.pools) == 0 {
		return domain.ErrNoFree.With("cluster %d has no address pools", c.Cluster)
	}
	names := make([]string, len(c.pools))
	for i, p := range c.pools {
		names[i] = fmt.Sprintf("%d (%s)", p.ID, p.Name)
	}
	if c.OfNetwork != 0 {
		return domain.ErrNoFree.With("no free IPv%d address of network %d in the pools %s", family, c.OfNetwork, strings.Join(names, ", "))
	}
	return domain.ErrNoFree.With("no free IPv%d address for cluster %d in the pools %s", family, c.Cluster, strings.Join(names, ", "))
}
