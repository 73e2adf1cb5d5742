package cluster

import (
	"testing"

	"slipway.dev/pkg/pg/pgtest"
	"slipway.dev/pkg/query/querytest"
	"slipway.dev/services/vm/internal/schema"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

func TestLists(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t, schema.Lines...)
	querytest.Check(t, pool, clusterList, scopeOf(7))
}
