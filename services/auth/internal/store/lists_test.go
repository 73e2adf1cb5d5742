package store

import (
	"testing"
	"time"

	"slipway.dev/pkg/outbox"
	"slipway.dev/pkg/pg/pgtest"
	"slipway.dev/pkg/query"
	"slipway.dev/pkg/query/querytest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

func TestLists(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t, outbox.Migrations, Migrations)
	querytest.Check(t, pool, accounts, query.Scope{SQL: onlyAccount, Args: []any{0}})
	querytest.Check(t, pool, roles, query.Scope{})
	querytest.Check(t, pool, records, query.Scope{SQL: onlyActor, Args: []any{0}})
	querytest.Check(t, pool, sshKeys, query.Scope{SQL: "k.account_id = $1", Args: []any{7}})
	querytest.Check(t, pool, apiKeys, query.Scope{SQL: apiKeysOf, Args: []any{7}})
	querytest.Check(t, pool, tokens, query.Scope{SQL: "account_id = $2 AND " + tokenLives, Args: []any{time.Hour, 7}})
}
