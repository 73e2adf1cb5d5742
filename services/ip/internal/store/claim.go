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
	"slipway.dev/services/ip/internal/domain"
)

// errMaybe says that addresses are short now, but that somebody else's unit of work may yet give one back.
var errMaybe = errors.New("short of addresses for the moment")

// Reserve takes what w wants, all or nothing, or returns what its owner has already.
//
// The first try passes over rows that somebody works on, so claims never wait for each other. When it comes out short
// although some address looks free or due to be, a second try waits for those rows: the one who holds the last free
// address may roll back.
func (s *Store) Reserve(ctx context.Context, w domain.Want) (list []domain.Address, err error) {
	for _, patient := range []bool{false, true} {
		err = s.InTx(ctx, func(t Tx) error {
			list, err = (&claim{Tx: t, Want: w, patient: patient}).run(ctx)
			return err
		})
		if !errors.Is(err, errMaybe) {
			break
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
	pools   []bound
	got     []domain.Address
}

// bound is a pool that the cluster may take from.
type bound struct {
	ID        int32
	Name      string
	Interface int32
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
		SELECT p.id, p.name, b.interface FROM pool_cluster b JOIN pool p ON p.id = b.pool_id
		WHERE b.cluster_id = $1 ORDER BY p.id`
	poolsNamed = `
		SELECT w.id, coalesce(p.name, ''), coalesce(b.interface, -1)
		FROM unnest($2::integer[]) WITH ORDINALITY w(id, n)
		LEFT JOIN pool p ON p.id = w.id
		LEFT JOIN pool_cluster b ON b.pool_id = p.id AND b.cluster_id = $1 ORDER BY w.n`
)

// begin locks the owner, looks whether it has addresses, and finds the pools, in one round trip.
func (c *claim) begin(ctx context.Context) (had bool, err error) {
	var b pgx.Batch
	b.Queue(lockOwner, c.Owner)
	b.Queue(`SELECT id FROM address WHERE owner = $1 FOR UPDATE`, c.Owner)
	if c.Pools == nil {
		b.Queue(poolsOfCluster, c.Cluster)
	} else {
		b.Queue(poolsNamed, c.Cluster, c.Pools)
	}
	r := c.tx.SendBatch(ctx, &b)
	defer r.Close()
	if _, err := r.Exec(); err != nil {
		return false, fmt.Errorf("lock owner: %w", err)
	}
	tag, err := r.Exec()
	if err != nil {
		return false, fmt.Errorf("look for addresses of the owner: %w", err)
	}
	if tag.RowsAffected() > 0 {
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
			return fault.Invalid.With("ipv4_pool: there is no pool %d", p.ID).On("ipv4_pool")
		case p.Interface < 0:
			return fault.Invalid.With("ipv4_pool: pool %d (%s) does not serve cluster %d", p.ID, p.Name, c.Cluster).On("ipv4_pool")
		}
	}
	return nil
}

// renewed returns what the owner has; the time to confirm begins anew.
func (c *claim) renewed(ctx context.Context) ([]domain.Address, error) {
	_, err := c.tx.Exec(ctx, `
		UPDATE address SET until = now() + $2::interval WHERE owner = $1 AND state = 'reserved'`, c.Owner, c.Lapse)
	if err != nil {
		return nil, err
	}
	return c.held(ctx, c.Owner)
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
	_, err := c.tx.Exec(ctx, `SELECT FROM pool WHERE id = ANY($1) ORDER BY id FOR NO KEY UPDATE`, c.poolIDs())
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
		err := c.tx.QueryRow(ctx, `
			SELECT EXISTS (SELECT FROM address WHERE pool_id = ANY($1) AND state = 'free')
			    OR EXISTS (SELECT FROM address WHERE pool_id = ANY($1) AND until <= now())`, c.poolIDs()).Scan(&maybe)
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
	return domain.ErrNoFree.With("no free IPv%d address for cluster %d in the pools %s", family, c.Cluster, strings.Join(names, ", "))
}
