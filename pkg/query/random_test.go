package query_test

import (
	"math/rand/v2"
	"testing"

	"google.golang.org/protobuf/proto"

	querypb "slipway.dev/proto/query/v1"

	"slipway.dev/pkg/query"
)

// values that are valid for some type, and some that are valid for none.
var values = []string{
	"1", "2", "3", "-1", "9223372036854775807", "99999999999999999999", "a", "A", "ab", "b", "%", "a%", "%b", "%A%", "_", `\`, "a_b", `'; DROP TABLE x --`,
	"active", "failed", "fail", "@admin", "@user", "%@%", "true", "false", "on", "2026-01-02 03:04:05", "2026-01-02", "2026-01-02T03:04:05Z",
	"192.0.2.1", "192.0.2.%", "192.%", "2001:db8::1", "::1%eth0", "x y@example.com", "x+y@example.com", "$1", "$2::text", "", "é", "\x00", "1.5", "1e3",
}

var fields = []string{"id", "name", "state", "cluster.name", "email", "roles", "ip", "locked", "created", "secret", "none", "h.id", "id; --"}

// randomExpr makes a tree of at most this depth. Few of the values fit the fields; fit makes all of them do.
func randomExpr(r *rand.Rand, depth int, compare func(*rand.Rand) *querypb.Expr) *querypb.Expr {
	switch n := r.IntN(10); {
	case depth == 0 || n < 4:
		return compare(r)
	case n < 6:
		return not(randomExpr(r, depth-1, compare))
	default:
		list := make([]*querypb.Expr, 1+r.IntN(3))
		for i := range list {
			list[i] = randomExpr(r, depth-1, compare)
		}
		if n < 8 {
			return and(list...)
		}
		return or(list...)
	}
}

func anything(r *rand.Rand) *querypb.Expr {
	return is(fields[r.IntN(len(fields))], querypb.Operator(r.IntN(10)), values[r.IntN(len(values))])
}

func randomQuery(r *rand.Rand) *querypb.Query {
	q := &querypb.Query{Limit: r.Int32N(1100) - 50, Offset: max(0, r.Int32N(50)-40)}
	if r.IntN(4) > 0 {
		q.Where = randomExpr(r, 1+r.IntN(6), anything)
	}
	for range r.IntN(3) {
		q.OrderBy = append(q.OrderBy, &querypb.Order{Field: fields[r.IntN(len(fields))], Descending: r.IntN(2) == 0})
	}
	if r.IntN(3) == 0 {
		q.Cursor = proto.String("")
	}
	return q
}

// compiles reports whether a query compiles, and checks that its SQL has known words only.
func compiles(t *testing.T, q *querypb.Query) bool {
	t.Helper()
	p, err := hosts.Compile(q, query.Scope{}, admin)
	if err != nil {
		return false
	}
	for _, sql := range []string{p.SQL, p.Count} {
		if rest := checkSQL(sql); rest != "" {
			t.Fatalf("not ours: %q in %q", rest, sql)
		}
	}
	return true
}

// TestRandomQueries is what FuzzCompile does, with trees that are mostly sound.
func TestRandomQueries(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2)) // the same at every run
	sound := 0
	for range 100_000 {
		if compiles(t, randomQuery(r)) {
			sound++
		}
	}
	if sound < 5_000 {
		t.Errorf("only %d of the queries were sound", sound)
	}
}

// FuzzCompile checks that any query is refused or compiled, and that no text of the query is in the SQL.
func FuzzCompile(f *testing.F) {
	r := rand.New(rand.NewPCG(3, 4)) // the same at every run
	for range 200 {
		data, err := proto.Marshal(randomQuery(r))
		if err == nil {
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		q := &querypb.Query{}
		if proto.Unmarshal(data, q) == nil {
			compiles(t, q)
		}
	})
}
