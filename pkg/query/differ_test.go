package query_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	querypb "slipway.dev/proto/query/v1"

	"slipway.dev/pkg/pg/pgtest"
	"slipway.dev/pkg/query"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// thing is a row of the list on which PostgreSQL is compared with the tests' own evaluator. Text is compared byte by byte,
// whatever the server's collation.
type thing struct {
	ID    int64
	Name  string
	Size  *int64
	OK    bool
	At    *time.Time
	IP    netip.Addr
	Roles []string
	Mail  string
}

var things = query.List{
	From: "thing t", Columns: "t.id, t.name, t.size, t.ok, t.at, t.ip, t.roles, t.mail",
	Joins: []query.Join{{Alias: "s", SQL: "LEFT JOIN thing s ON s.id = t.id"}},
	Fields: map[string]query.Field{
		"id":    {SQL: "t.id", Type: query.Int},
		"name":  {SQL: `(t.name COLLATE "C")`, Type: query.Text, Alias: map[string]string{"alias": "ab"}},
		"size":  {SQL: "s.size", Type: query.Int, Null: true, Needs: "s"},
		"ok":    {SQL: "t.ok", Type: query.Bool},
		"at":    {SQL: "t.at", Type: query.Time, Null: true},
		"ip":    {SQL: "t.ip", Type: query.IP},
		"roles": {SQL: `(role COLLATE "C")`, Type: query.Text, Each: "unnest(t.roles) AS role WHERE true"},
		"mail":  {SQL: `(t.mail COLLATE "C")`, Type: query.Mail},
	},
}

// some values of each field, in the spelling of a filter.
var some = map[string][]string{
	"id":    {"1", "7", "20", "30", "50", "-1", "9223372036854775807"},
	"name":  {"", "a", "A", "ab", "AB", "abc", "a_b", "a%", "%b", "%B%", "%", "a_%", `a\b`, `a\%`, "alias", "%%", "a%c"},
	"size":  {"0", "1", "2", "3", "-1"},
	"ok":    {"true", "false", "1", "off"},
	"at":    {"2026-01-01", "2026-01-02", "2026-01-03 00:00:00", "2026-01-02 00:00:01", "2026-01-02T00:00:00Z"},
	"ip":    {"10.0.0.1", "10.0.0.2", "10.0.1.1", "2001:db8::1", "::1"},
	"roles": {"@admin", "@user", "@User", "x", "%@%", "%admin%", "@u%"},
	"mail":  {"a b@x.org", "a+b@x.org", "c@x.org", "%@x.org", "%b@%"},
}

var patterns = map[string][]string{
	"id": {"1%", "%0", "10", "%"}, "size": {"1", "%", "-%"}, "ok": {"t%", "%", "false"},
	"at": {"2026-01-02%", "%00:00:00", "2026-01-02 00:00:00", "%.%"},
	"ip": {"10.%", "10.0.%", "10.0.0.%", "10.0.0.1", "%.1", "2001:%", "%", "10.0.0.1%"},
}

func fitting(r *rand.Rand) *querypb.Expr {
	names := []string{"id", "name", "size", "ok", "at", "ip", "roles", "mail"}
	name, op := names[r.IntN(len(names))], querypb.Operator(1+r.IntN(8))
	if op == cp && name == "at" {
		op = eq
	}
	list := some[name]
	if p, ok := patterns[name]; ok && op == cp {
		list = p
	}
	return is(name, op, list[r.IntN(len(list))])
}

func newThings(t *testing.T, r *rand.Rand) (*pgxpool.Pool, []thing) {
	t.Helper()
	pool := pgtest.New(t)
	if _, err := pool.Exec(t.Context(), `CREATE TABLE thing (id bigint PRIMARY KEY, name text NOT NULL, size bigint, ok boolean NOT NULL,
		at timestamptz, ip inet NOT NULL, roles text[] NOT NULL, mail text NOT NULL)`); err != nil {
		t.Fatal(err)
	}
	names := []string{"", "a", "A", "ab", "AB", "abc", "aBc", "a_b", "a%b", `a\b`, "axb", "b", "é"}
	roles := []string{"@admin", "@user", "@User", "x"}
	list := make([]thing, 60)
	for i := range list {
		x := thing{
			ID: int64(i + 1), Name: names[r.IntN(len(names))], OK: r.IntN(2) == 0, Roles: []string{},
			IP: netip.MustParseAddr(some["ip"][r.IntN(5)]), Mail: []string{"a+b@x.org", "c@x.org", "A+B@x.org", "c@y.org"}[r.IntN(4)],
		}
		if n := r.Int64N(5); n < 4 {
			x.Size = &n
		}
		if n := r.IntN(4); n < 3 {
			at := time.Date(2026, 1, 1+n, 0, 0, 0, r.IntN(2)*1000, time.UTC)
			x.At = &at
		}
		for _, role := range roles {
			if r.IntN(3) == 0 {
				x.Roles = append(x.Roles, role)
			}
		}
		list[i] = x
	}
	if _, err := pool.CopyFrom(t.Context(), pgx.Identifier{"thing"}, strings.Fields("id name size ok at ip roles mail"),
		pgx.CopyFromSlice(len(list), func(i int) ([]any, error) {
			x := list[i]
			return []any{x.ID, x.Name, x.Size, x.OK, x.At, x.IP, x.Roles, x.Mail}, nil
		})); err != nil {
		t.Fatal(err)
	}
	return pool, list
}

// TestDiffer compares the rows of 10,000 random conditions, in make chaos 100,000, with those that the evaluator selects.
func TestDiffer(t *testing.T) {
	t.Parallel()
	const atOnce = 100
	cases := 10_000
	if os.Getenv("SLIPWAY_CHAOS") != "" {
		cases = 100_000
	}
	r := rand.New(rand.NewPCG(5, 6)) // the same at every run
	pool, list := newThings(t, r)
	for range cases / atOnce {
		var trees []*querypb.Expr
		var conditions []string
		var scope query.Scope
		for range atOnce {
			e := randomExpr(r, 4, fitting)
			p, err := things.Compile(&querypb.Query{Where: e}, scope, admin)
			if err != nil {
				t.Fatalf("%v: %v", e, err)
			}
			_, condition, _ := strings.Cut(p.Count, " WHERE ")
			trees, conditions, scope.Args = append(trees, e), append(conditions, condition), p.Args
		}
		rows, err := pool.Query(t.Context(), "SELECT ARRAY["+strings.Join(conditions, ", ")+"] FROM thing t LEFT JOIN thing s ON s.id = t.id ORDER BY t.id", scope.Args...)
		if err != nil {
			t.Fatal(err)
		}
		got, err := pgx.CollectRows(rows, pgx.RowTo[[]bool]) // fails on a null
		if err != nil {
			t.Fatal(err)
		}
		for i, x := range list {
			for j, e := range trees {
				if want := holds(x, e); got[i][j] != want {
					t.Fatalf("%+v: PostgreSQL says %v of\n%v\n%s", x, got[i][j], e, conditions[j])
				}
			}
		}
	}
}

// TestPages walks random lists by cursor, by offset, and by the pages of a request for all rows or for more than a page holds:
// together the pages are the whole list in its order, once.
func TestPages(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(7, 8)) // the same at every run
	pool, list := newThings(t, r)
	reader := query.NewReader(pool, query.Limits{})
	small := query.NewReader(pool, query.Limits{MaxRows: 7})
	for range 200 {
		q := &querypb.Query{Limit: 3 + r.Int32N(30)}
		if r.IntN(3) > 0 {
			q.Where = randomExpr(r, 2, fitting)
		}
		for range r.IntN(4) {
			name := []string{"id", "name", "size", "ok", "at", "ip", "mail"}[r.IntN(7)]
			q.OrderBy = append(q.OrderBy, &querypb.Order{Field: name, Descending: r.IntN(2) == 0})
		}
		want := selected(list, q)
		if got := walk(t, reader, q, true); !slices.Equal(got, want) {
			t.Fatalf("by cursor %v\ngot  %v\nwant %v", q, got, want)
		}
		if got := walk(t, reader, q, false); !slices.Equal(got, want) {
			t.Fatalf("by offset %v\ngot  %v\nwant %v", q, got, want)
		}
		for _, limit := range []int32{0, 8, 1000} {
			offset := r.IntN(10)
			q.Cursor, q.Offset, q.Limit = nil, int32(offset), limit
			rest := want[min(offset, len(want)):]
			if got := whole(t, small, q); !slices.Equal(got, rest) {
				t.Fatalf("as a whole, from %d: %v\ngot  %v\nwant %v", offset, q, got, rest)
			}
		}
	}
}

// whole reads all rows from the offset on: the page that q asks for, and those after it.
func whole(t *testing.T, reader query.Reader, q *querypb.Query) (ids []int64) {
	t.Helper()
	for {
		var tr trailer
		l, err := query.Read[thing](tr.in(t.Context()), reader, things, q, query.Scope{})
		if err != nil {
			t.Fatal(err)
		}
		if len(l.Rows) > 7 {
			t.Fatalf("a page of %d rows: %v", len(l.Rows), q)
		}
		for _, x := range l.Rows {
			ids = append(ids, x.ID)
		}
		if tr.next == "" {
			return ids
		}
		q.Cursor, q.Offset = &tr.next, 0
	}
}

func walk(t *testing.T, reader query.Reader, q *querypb.Query, byCursor bool) (ids []int64) {
	t.Helper()
	q.Cursor, q.Offset = nil, 0
	if byCursor {
		q.Cursor = new(string)
	}
	for {
		var tr trailer
		l, err := query.Read[thing](tr.in(t.Context()), reader, things, q, query.Scope{})
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range l.Rows {
			ids = append(ids, x.ID)
		}
		switch {
		case !byCursor && len(l.Rows) < int(q.GetLimit()):
			if int(l.Size) != len(ids) {
				t.Fatalf("size %d of %d: %v", l.Size, len(ids), q)
			}
			return ids
		case !byCursor:
			q.Offset += q.GetLimit()
		case tr.next == "":
			return ids
		default:
			q.Cursor = &tr.next
		}
		if len(ids) > 1000 {
			t.Fatal(fmt.Errorf("the pages do not end: %v", q))
		}
	}
}
