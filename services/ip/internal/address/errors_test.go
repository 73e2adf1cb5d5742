package address

import (
	"context"
	"net/netip"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/pkg/outbox"
	"slipway.dev/pkg/pg"
	"slipway.dev/pkg/pg/pgtest"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/ip/internal/inet"
	"slipway.dev/services/ip/internal/schema"
)

const (
	holder = "11111111-1111-4111-8111-111111111111" // has an address of each family, with a name, not confirmed
	tenant = "22222222-2222-4222-8222-222222222222" // has one that is
)

// withAddresses returns tables with addresses of pool 1, which serves cluster 1.
func withAddresses(t *testing.T) *pgxpool.Pool {
	t.Helper()
	db := pgtest.New(t, outbox.Migrations, pg.Histories, schema.Migrations)
	_, err := db.Exec(t.Context(), `
		INSERT INTO network (cidr, gateway) VALUES ('192.0.2.0/24', '192.0.2.1'), ('2001:db8::/64', '2001:db8::1');
		INSERT INTO pool (name) VALUES ('p');
		INSERT INTO pool_cluster (pool_id, cluster_id) VALUES (1, 1);
		INSERT INTO pool_range (pool_id, network_id, name, first, last, usable, next) VALUES
			(1, 1, 'four', '192.0.2.4', '192.0.2.12', 9, NULL), (1, 2, 'six', '2001:db8::4', '2001:db8::9', 6, '2001:db8::4');
		INSERT INTO address (ip, range_id, pool_id, state) SELECT inet '192.0.2.4' + n, 1, 1, 'free' FROM generate_series(0, 8) n;
		UPDATE address SET state = 'reserved', owner = '`+holder+`', claim = owner, position = 0, until = now() - interval '1 s', domain = 'a.example'
		WHERE ip = '192.0.2.4';
		INSERT INTO address (ip, range_id, pool_id, state, owner, claim, position, until)
		SELECT '2001:db8::4', 2, 1, 'reserved', owner, owner, 1, until FROM address WHERE owner IS NOT NULL;
		UPDATE address SET state = 'assigned', owner = '`+tenant+`', claim = '`+tenant+`', position = 0 WHERE ip = '192.0.2.5';
		UPDATE address SET state = 'reserved', note = 'held' WHERE ip = '192.0.2.6'`)
	if err != nil {
		t.Fatal(err)
	}
	return db
}

// unconfirmed has the holder's reservation last.
func unconfirmed(t *testing.T, db *pgxpool.Pool) {
	t.Helper()
	if _, err := db.Exec(t.Context(), `UPDATE address SET until = now() + interval '1 h' WHERE owner = $1`, holder); err != nil {
		t.Fatal(err)
	}
}

// TestErrorsOfTheDatabase: whichever round trip fails, addresses say so and do not take that for an answer.
func TestErrorsOfTheDatabase(t *testing.T) {
	t.Parallel()
	db := withAddresses(t)
	four, six, gateway := netip.MustParseAddr("192.0.2.7"), netip.MustParseAddr("2001:db8::8"), netip.MustParseAddr("192.0.2.8")
	claimed := func(r request, wait bool) func(context.Context, *unit.Tx) error {
		return func(ctx context.Context, tx *unit.Tx) error {
			r.Lapse = defaultLapse
			_, err := (&claim{Tx: tx, request: r, wait: wait}).run(ctx)
			return err
		}
	}
	id := uuid.NewString()
	for what, f := range map[string]func(context.Context, *unit.Tx) error{
		"claim":        claimed(request{Owner: id, Key: id, Cluster: 1, IPv4: 2, IPv6: 2}, true),
		"claim a wish": claimed(request{Owner: id, Key: id, Cluster: 1, IPv4: 2, IPv6: 2, Wish: six}, false),
		"claim a pool": claimed(request{Owner: id, Key: id, Cluster: 1, Pools: []int32{1}, IPv4: 1, IPv6: 1, Wish: four}, false),
		"claim again":  claimed(request{Owner: holder, Key: holder, Cluster: 1, IPv4: 1}, false),
		"hold": func(ctx context.Context, tx *unit.Tx) error {
			_, err := hold(ctx, tx, 1, four, "")
			return err
		},
		"free": func(ctx context.Context, tx *unit.Tx) error { return free(ctx, tx, 3) },
		"name": func(ctx context.Context, tx *unit.Tx) error {
			_, err := setPTR(ctx, tx, 2, tenant, "b.example", "")
			return err
		},
		"rows of a range": func(ctx context.Context, tx *unit.Tx) error {
			return AddRange(ctx, tx, 2, inet.Range{First: six, Last: six}, []netip.Addr{six})
		},
		"remove a range": func(ctx context.Context, tx *unit.Tx) error {
			_, err := RemoveRange(ctx, tx, 1)
			return err
		},
		"move a gateway": func(ctx context.Context, tx *unit.Tx) error { return MoveGateway(ctx, tx, gateway, four) },
		"sweep": func(ctx context.Context, tx *unit.Tx) error {
			_, err := freeDue(ctx, tx)
			return err
		},
		"hold what machines have": func(ctx context.Context, tx *unit.Tx) error {
			_, err := holdSeen(ctx, tx, []seenAddress{{four, id}})
			return err
		},
		"move a host": func(ctx context.Context, tx *unit.Tx) error {
			return HostMoved(ctx, tx, &vmpb.HostChanged{Uuid: tenant, AccountId: 9})
		},
		"release": func(ctx context.Context, tx *unit.Tx) error {
			_, _, err := release(ctx, tx, surrender{Owner: holder}, 60)
			return err
		},
	} {
		pgtest.EachFails(t, db, what, func(ctx context.Context, tx pgx.Tx) error { return f(ctx, unit.In(tx)) })
	}
	unconfirmed(t, db)
	pgtest.EachFails(t, db, "confirm", func(ctx context.Context, tx pgx.Tx) error { return confirm(ctx, unit.In(tx), holder, "") })
}
