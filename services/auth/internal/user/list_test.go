package user

import (
	"testing"

	"slipway.dev/pkg/outbox"
	"slipway.dev/pkg/pg/pgtest"
	"slipway.dev/pkg/query"
	"slipway.dev/pkg/query/querytest"
	"slipway.dev/services/auth/internal/schema"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

func TestList(t *testing.T) {
	t.Parallel()
	querytest.Check(t, pgtest.New(t, outbox.Migrations, schema.Migrations), accounts, query.Scope{SQL: onlyAccount, Args: []any{0}})
}
