package store

import (
	"testing"

	"slipway.dev/pkg/outbox"
	"slipway.dev/pkg/pg/pgtest"
	"slipway.dev/pkg/query"
	"slipway.dev/pkg/query/querytest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

func TestLists(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t, outbox.Migrations, Migrations)
	for _, l := range []query.List{addresses, networks, pools, ranges, history} {
		querytest.Check(t, pool, l, query.Scope{})
	}
}
