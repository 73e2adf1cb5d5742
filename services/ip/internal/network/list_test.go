package network

import (
	"testing"

	"slipway.dev/pkg/outbox"
	"slipway.dev/pkg/pg"
	"slipway.dev/pkg/pg/pgtest"
	"slipway.dev/pkg/query"
	"slipway.dev/pkg/query/querytest"
	"slipway.dev/services/ip/internal/schema"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

func TestLists(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t, outbox.Migrations, pg.Histories, schema.Migrations)
	for _, l := range []query.List{all} {
		querytest.Check(t, pool, l, query.Scope{})
	}
}
