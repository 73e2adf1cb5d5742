// Package querytest checks the declaration of a list against its tables.
package querytest

import (
	"context"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"google.golang.org/protobuf/proto"

	querypb "slipway.dev/proto/query/v1"

	"slipway.dev/pkg/query"
)

// samples are values of each type.
var samples = map[query.Type]string{
	query.Int: "1", query.Text: "a%", query.Bool: "true", query.Time: "2026-01-02", query.IP: "192.0.2.1", query.Mail: "a@example.com",
}

// Check runs queries on every field of a list: alone, which fails if the field needs a join that it does not declare; from the
// list's counters, which fails if they lack the field; and as an order, with several pages.
func Check(t testing.TB, pool *pgxpool.Pool, l query.List, scope query.Scope) {
	t.Helper()
	for name, f := range l.Fields {
		for op := querypb.Operator_OPERATOR_EQ; op <= querypb.Operator_OPERATOR_IS_NULL; op++ {
			run(t, pool, l, scope, &querypb.Query{Where: &querypb.Expr{Kind: &querypb.Expr_Compare{
				Compare: &querypb.Compare{Field: name, Operator: op, Value: samples[f.Type]},
			}}}, fmt.Sprint(name, " ", op))
		}
		if f.Each == "" {
			for _, down := range []bool{false, true} {
				order := []*querypb.Order{{Field: name, Descending: down}}
				run(t, pool, l, scope, &querypb.Query{OrderBy: order, Cursor: proto.String("")}, "order by "+name)
			}
		}
	}
}

func run(t testing.TB, pool *pgxpool.Pool, l query.List, scope query.Scope, q *querypb.Query, what string) {
	t.Helper()
	p, err := l.Compile(q, scope, query.Caller{Admin: true, MaxRows: 100})
	if err != nil {
		t.Errorf("%s: %s: %v", l.From, what, err)
		return
	}
	ctx := context.Background()
	if _, err := pool.Exec(ctx, p.SQL, p.Args...); err != nil {
		t.Errorf("%s: %s: %v\n%s", l.From, what, err, p.SQL)
	}
	var n int
	if err := pool.QueryRow(ctx, p.Count, p.Args[:p.CountArgs]...).Scan(&n); err != nil {
		t.Errorf("%s: %s: %v\n%s", l.From, what, err, p.Count)
	}
}
