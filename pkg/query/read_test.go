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

// TestOrderTooCostly: a list that is too long for an order says so, and names the orders that suit any length. A short one is
// ordered by anything.
func TestOrderTooCostly(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	if _, err := pool.Exec(t.Context(), `CREATE TABLE long (id integer PRIMARY KEY, quick integer, slow integer)`); err != nil {
		t.Fatal(err)
	}
	// The order by slow takes a tenth of a second for each row, and no row is so quick that a thousand fit.
	list := query.List{
		From: "long l", Columns: "l.id", Quick: []string{"quick"}, Fields: map[string]query.Field{
			"id": {SQL: "l.id", Type: query.Int}, "quick": {SQL: "l.quick", Type: query.Int},
			"slow": {SQL: "(l.slow + length(pg_sleep(0.1)::text))", Type: query.Int},
		},
	}
	type row struct{ ID int64 }
	read := func(limit time.Duration, orders ...*querypb.Order) (query.Rows[row], error) {
		reader := query.NewReader(pool, query.Limits{Timeout: limit})
		return query.Read[row](t.Context(), reader, list, &querypb.Query{OrderBy: orders, Limit: 5}, query.Scope{})
	}
	slow, quick := &querypb.Order{Field: "slow"}, &querypb.Order{Field: "quick"}
	if _, err := pool.Exec(t.Context(), `INSERT INTO long VALUES (1, 1, 1), (2, 2, 0)`); err != nil {
		t.Fatal(err)
	}
	if l, err := read(time.Minute, slow); err != nil || len(l.Rows) != 2 || l.Rows[0].ID != 2 {
		t.Errorf("a short list: %+v, %v", l, err)
	}
	if _, err := pool.Exec(t.Context(), `INSERT INTO long SELECT n, n, n FROM generate_series(3, 1000) n`); err != nil {
		t.Fatal(err)
	}
	for name, orders := range map[string][]*querypb.Order{"one": {slow}, "a second": {quick, slow}} {
		_, err := read(50*time.Millisecond, orders...)
		f, ok := fault.From(err)
		if !ok || !errors.Is(err, query.ErrTooCostly) || f.Field != "orderby" || !strings.HasSuffix(f.Text(), "order by one of id, quick") {
			t.Errorf("%s: %v", name, err)
		}
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
