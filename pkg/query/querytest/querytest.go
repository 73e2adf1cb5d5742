// Package querytest checks the declaration of a list against its tables.
package querytest

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
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
// list's counters, which fails if they lack the field; and as an order, with several pages. Orders that the list declares quick must
// be those of an index.
func Check(t testing.TB, pool *pgxpool.Pool, l query.List, scope query.Scope) {
	t.Helper()
	for _, name := range l.Quick {
		presorted(t, pool, l, scope, name)
	}
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

// presorted checks that an index orders the rows by a field.
func presorted(t testing.TB, pool *pgxpool.Pool, l query.List, scope query.Scope, field string) {
	t.Helper()
	key := cmp.Or(l.Key, "id")
	l.Columns = l.Fields[key].SQL // the plan of what belongs to a row does not count
	l.Joins = slices.DeleteFunc(slices.Clone(l.Joins), func(j query.Join) bool {
		return j.Alias != l.Fields[field].Needs && j.Alias != l.Fields[key].Needs
	})
	q := &querypb.Query{OrderBy: []*querypb.Order{{Field: field}}}
	p, err := l.Compile(q, scope, query.Caller{Admin: true, MaxRows: 100})
	if err != nil {
		t.Errorf("%s: order by %s: %v", l.From, field, err)
		return
	}
	ctx := context.Background()
	var plan string
	err = pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		// A planner that may choose sorts few rows whatever indexes there are.
		if _, err := tx.Exec(ctx, `SELECT set_config(s, 'off', true) FROM unnest('{enable_sort,enable_incremental_sort,enable_hashjoin,enable_mergejoin}'::text[]) s`); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, "EXPLAIN "+p.SQL, p.Args...)
		if err != nil {
			return err
		}
		lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
		plan = strings.Join(lines, "\n")
		return err
	})
	_, page, _ := strings.Cut(plan, "Limit") // of which the few rows may be sorted again
	if err != nil || page == "" || strings.Contains(page, "Sort Key") {
		t.Errorf("%s: no index orders by %q: %v\n%s", l.From, field, err, plan)
	}
}
