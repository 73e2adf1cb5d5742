package pool

import (
	"context"
	"errors"
	"net/netip"
	"slices"

	"github.com/jackc/pgx/v5"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/pg"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/ip/internal/inet"
	"slipway.dev/services/ip/internal/network"
)

// addRange inserts a range and returns its id, and the gateways of all networks that lie in it. All of a range lies
// in one active network, and no two ranges overlap.
func addRange(ctx context.Context, tx *unit.Tx, pool int32, r inet.Range) (id int32, gateways []netip.Addr, err error) {
	if err := network.LockGateways(ctx, tx); err != nil {
		return 0, nil, err
	}
	if err := lockToRefer(ctx, tx, pool); err != nil {
		return 0, nil, err
	}
	n, ok, err := network.LockAround(ctx, tx, r.First)
	switch {
	case err != nil:
		return 0, nil, err
	case !ok:
		return 0, nil, fault.Invalid.With("%s is in no active network; create the network first", r.Name).On("name")
	case !r.In(n.CIDR):
		return 0, nil, fault.Invalid.With("%s reaches beyond the network %s", r.Name, n.CIDR).On("name")
	}
	if gateways, err = network.Gateways(ctx, tx, r); err != nil {
		return 0, nil, err
	}
	gateways = slices.DeleteFunc(gateways, func(a netip.Addr) bool { return inet.Reserved(n.CIDR, a) })
	if r.Usable(n.CIDR) <= int64(len(gateways)) {
		return 0, nil, fault.Invalid.With("%s contains no usable address", r.Name).On("name")
	}
	err = tx.QueryRow(ctx, `
		INSERT INTO pool_range (pool_id, network_id, name, first, last, usable, next)
		VALUES ($1, $2, $3, $4, $5, $6, CASE WHEN family($4::inet) = 6 THEN $4::inet END)
		RETURNING id`, pool, n.ID, r.Name, r.First, r.Last, r.Usable(n.CIDR)).Scan(&id)
	if pg.IsExclusion(err, "pool_range_overlap") {
		return 0, nil, fault.Conflict.With("%s overlaps a range that exists", r.Name).On("name")
	}
	return id, gateways, err
}

// rangesOf returns the ids of the ranges of a pool.
func rangesOf(ctx context.Context, tx *unit.Tx, pool int32) ([]int32, error) {
	rows, err := tx.Query(ctx, `SELECT id FROM pool_range WHERE pool_id = $1 ORDER BY id`, pool)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[int32])
}

// lockRange locks a range and returns its name.
func lockRange(ctx context.Context, tx *unit.Tx, id int32) (name string, err error) {
	err = tx.QueryRow(ctx, `SELECT name FROM pool_range WHERE id = $1 FOR UPDATE`, id).Scan(&name)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", fault.NotFound.With("no range %d", id)
	}
	return name, err
}

// removeRange deletes a range whose addresses are removed.
func removeRange(ctx context.Context, tx *unit.Tx, id int32) error {
	_, err := tx.Exec(ctx, `DELETE FROM pool_range WHERE id = $1`, id)
	return err
}

// Range is a locked range. A claim of an IPv6 address, a reservation by an administrator and a new gateway all lock the
// range, so addresses of it that have no row yet are given once.
type Range struct {
	ID, PoolID  int32
	First, Last netip.Addr
	Next        netip.Addr // where the search for a free IPv6 address continues
	CIDR        netip.Prefix
}

// Gives reports whether a is an address of the range that an owner may have.
func (r Range) Gives(a netip.Addr) bool {
	return inet.Range{First: r.First, Last: r.Last}.Contains(a) && !inet.Reserved(r.CIDR, a)
}

// LockIPv6 locks the IPv6 ranges of pools, or those of one network if networkID is not 0. It locks all of them at once
// and in one order: claims whose pools are in different orders would wait in a circle.
func LockIPv6(ctx context.Context, tx *unit.Tx, pools []int32, networkID int32) ([]Range, error) {
	rows, err := tx.Query(ctx, lockIPv6, pools, networkID)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[Range])
}

// LockWithin locks the range of a pool that contains a. ok is false when no range does.
func LockWithin(ctx context.Context, tx *unit.Tx, pool int32, a netip.Addr) (r Range, ok bool, err error) {
	err = tx.QueryRow(ctx, lockWithin, pool, a).Scan(&r.ID, &r.First, &r.Last, &r.CIDR)
	if errors.Is(err, pgx.ErrNoRows) {
		return Range{}, false, nil
	}
	r.PoolID = pool
	return r, err == nil, err
}

// LockAround locks the range that contains a, of whichever pool, and returns both ids. ok is false when no range does.
func LockAround(ctx context.Context, tx *unit.Tx, a netip.Addr) (id, pool int32, ok bool, err error) {
	err = tx.QueryRow(ctx, `
		SELECT id, pool_id FROM pool_range WHERE inetrange(first, last, '[]') @> $1::inet FOR NO KEY UPDATE`, a).Scan(&id, &pool)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, 0, false, nil
	}
	return id, pool, err == nil, err
}

// MoveCursor is the statement that makes $2 the place where the search for a free address of the IPv6 range $1
// continues.
const MoveCursor = `UPDATE pool_range SET next = $2 WHERE id = $1`
