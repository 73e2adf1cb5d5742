package query_test

import (
	"encoding/json"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	querypb "slipway.dev/proto/query/v1"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/identity"
	"slipway.dev/pkg/pg/pgtest"
	"slipway.dev/pkg/query"
)

// TestScope checks that no row outside the scope is shown or counted, whatever the query.
func TestScope(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(9, 10)) // the same at every run
	pool, list := newThings(t, r)
	reader := query.NewReader(pool, query.Limits{})
	mine := slices.DeleteFunc(slices.Clone(list), func(x thing) bool { return x.ID%3 != 1 })
	for range 2000 {
		q := &querypb.Query{Where: randomExpr(r, 3, fitting)}
		l, err := query.Read[thing](t.Context(), reader, things, q, query.Scope{SQL: "t.id % 3 = $1 OR false", Args: []any{1}})
		if err != nil {
			t.Fatal(err)
		}
		want := selected(mine, q)
		var got []int64
		for _, x := range l.Rows {
			got = append(got, x.ID)
		}
		if !slices.Equal(got, want) || int(l.Size) != len(want) {
			t.Fatalf("%v: %v, %d in all; want %v", q, got, l.Size, want)
		}
	}
}

// TestBudget checks that a list that takes too long is a fault of the request, and leaves the connection usable.
func TestBudget(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	reader := query.NewReader(pool, query.Limits{Timeout: 20 * time.Millisecond})
	slow := query.List{
		From: "(SELECT 1 AS id, pg_sleep(60)::text AS nap) s", Columns: "s.id", Fields: map[string]query.Field{"id": {SQL: "s.id", Type: query.Int}},
	}
	type row struct{ ID int64 }
	_, err := query.Read[row](t.Context(), reader, slow, nil, query.Scope{})
	if !errors.Is(err, query.ErrTooCostly) || strings.Contains(fault.Status(err).Message(), "pg_sleep") {
		t.Errorf("a slow list: %v", err)
	}
	for range 20 {
		var timeout, readOnly string
		if err := pool.QueryRow(t.Context(), `SELECT current_setting('statement_timeout'), current_setting('transaction_read_only')`).Scan(&timeout, &readOnly); err != nil || timeout != "0" || readOnly != "off" {
			t.Fatalf("left behind: %s %s %v", timeout, readOnly, err)
		}
	}
	writes := query.List{
		From: "(SELECT nextval('made') AS id) w", Columns: "w.id", Fields: map[string]query.Field{"id": {SQL: "w.id", Type: query.Int}},
	}
	if _, err := pool.Exec(t.Context(), `CREATE SEQUENCE made`); err != nil {
		t.Fatal(err)
	}
	if _, err := query.Read[row](t.Context(), query.NewReader(pool, query.Limits{}), writes, nil, query.Scope{}); err == nil {
		t.Error("a list may write")
	}
}

func TestExplain(t *testing.T) {
	t.Parallel()
	pool, _ := newThings(t, rand.New(rand.NewPCG(11, 12))) // the same at every run
	reader := query.NewReader(pool, query.Limits{})
	q := &querypb.Query{Explain: true, Where: is("name", cp, "a%"), Limit: 5}
	var tr trailer
	as := func(role string) error {
		ctx := identity.With(tr.in(t.Context()), identity.Identity{AccountID: 1, Roles: []string{role}})
		_, err := query.Read[thing](ctx, reader, things, q, query.Scope{})
		return err
	}
	if err := as(identity.RoleUser); !errors.Is(err, fault.Denied) || tr.explain != "" {
		t.Errorf("a user: %v %s", err, tr.explain)
	}
	if err := as(identity.RoleAdmin); err != nil {
		t.Fatal(err)
	}
	var e struct {
		Tree        map[string]any
		Page, Count struct {
			SQL  string
			Args []string
			Plan []map[string]any
		}
	}
	if err := json.Unmarshal([]byte(tr.explain), &e); err != nil {
		t.Fatal(err)
	}
	if e.Tree["where"] == nil || !strings.Contains(e.Page.SQL, "LIKE lower($1::text)") || e.Page.Args[0] != "a%" || e.Page.Plan[0]["Plan"] == nil || e.Count.Plan[0]["Plan"] == nil {
		t.Errorf("explained: %s", tr.explain)
	}
}
