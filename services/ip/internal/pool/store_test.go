package pool

import (
	"context"
	"net/netip"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	authpb "slipway.dev/proto/auth/v4"

	"slipway.dev/pkg/outbox"
	"slipway.dev/pkg/pg"
	"slipway.dev/pkg/pg/pgtest"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/ip/internal/inet"
	"slipway.dev/services/ip/internal/schema"
)

// withPool returns tables with pool 1, in which are a range of each family, and with pool 2, which is empty.
func withPool(t *testing.T) *pgxpool.Pool {
	t.Helper()
	db := pgtest.New(t, outbox.Migrations, pg.Histories, schema.Migrations)
	_, err := db.Exec(t.Context(), `
		INSERT INTO network (cidr, gateway) VALUES ('192.0.2.0/24', '192.0.2.1'), ('2001:db8::/64', '2001:db8::1');
		INSERT INTO pool (name) VALUES ('p'), ('empty');
		INSERT INTO pool_range (pool_id, network_id, name, first, last, usable, next) VALUES
			(1, 1, 'four', '192.0.2.4', '192.0.2.7', 4, NULL), (1, 2, 'six', '2001:db8::4', '2001:db8::7', 4, '2001:db8::4')`)
	if err != nil {
		t.Fatal(err)
	}
	return db
}

// TestErrorsOfTheDatabase: whichever round trip fails, pools say so and do not take that for an answer.
func TestErrorsOfTheDatabase(t *testing.T) {
	t.Parallel()
	db := withPool(t)
	six, name, account := netip.MustParseAddr("2001:db8::5"), "n", int32(7)
	r, err := inet.ParseRange("192.0.2.9")
	if err != nil {
		t.Fatal(err)
	}
	for what, f := range map[string]func(context.Context, *unit.Tx) error{
		"create": func(ctx context.Context, tx *unit.Tx) error {
			_, err := create(ctx, tx, name, "", account)
			return err
		},
		"update": func(ctx context.Context, tx *unit.Tx) error { return update(ctx, tx, 1, &name, nil, &account) },
		"heir": func(ctx context.Context, tx *unit.Tx) error {
			return AccountDeleted(ctx, tx, &authpb.UserDeleted{Id: 7, Heir: 8})
		},
		"remove": func(ctx context.Context, tx *unit.Tx) error { return remove(ctx, tx, 2) },
		"clusters": func(ctx context.Context, tx *unit.Tx) error {
			return setClusters(ctx, tx, 1, []cluster{{ID: 1}, {ID: 2}})
		},
		"lock": func(ctx context.Context, tx *unit.Tx) error { return Lock(ctx, tx, []int32{1}) },
		"lock to remove": func(ctx context.Context, tx *unit.Tx) error {
			return lockToRemove(ctx, tx, 1)
		},
		"add a range": func(ctx context.Context, tx *unit.Tx) error {
			_, _, err := addRange(ctx, tx, 1, r)
			return err
		},
		"ranges": func(ctx context.Context, tx *unit.Tx) error {
			_, err := rangesOf(ctx, tx, 1)
			return err
		},
		"lock a range": func(ctx context.Context, tx *unit.Tx) error {
			_, err := lockRange(ctx, tx, 1)
			return err
		},
		"remove a range": func(ctx context.Context, tx *unit.Tx) error { return removeRange(ctx, tx, 1) },
		"ranges of IPv6": func(ctx context.Context, tx *unit.Tx) error {
			_, err := LockIPv6(ctx, tx, []int32{1}, 0)
			return err
		},
		"the range within": func(ctx context.Context, tx *unit.Tx) error {
			_, _, err := LockWithin(ctx, tx, 1, six)
			return err
		},
		"the range around": func(ctx context.Context, tx *unit.Tx) error {
			_, _, _, err := LockAround(ctx, tx, six)
			return err
		},
	} {
		pgtest.EachFails(t, db, what, func(ctx context.Context, tx pgx.Tx) error { return f(ctx, unit.In(tx)) })
	}
}
