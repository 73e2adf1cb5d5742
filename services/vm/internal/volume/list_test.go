package volume

import (
	"testing"

	"slipway.dev/pkg/pg/pgtest"
	"slipway.dev/pkg/query"
	"slipway.dev/pkg/query/querytest"
	"slipway.dev/services/vm/internal/listing"
	"slipway.dev/services/vm/internal/schema"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

func TestLists(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t, schema.Lines...)
	querytest.Check(t, pool, diskList, query.Scope{})
	querytest.Check(t, pool, diskList, listing.Own("d.account_id", 7))
}
