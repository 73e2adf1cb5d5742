package query_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	querypb "slipway.dev/proto/query/v1"

	"slipway.dev/pkg/query"
)

var hosts = query.List{Fields: map[string]query.Field{
	"id":           {SQL: "h.id", Type: query.Int},
	"name":         {SQL: "h.name", Type: query.Text},
	"state":        {SQL: "h.state", Type: query.Text, Alias: map[string]string{"fail": "failed"}},
	"cluster.name": {SQL: "c.name", Type: query.Text},
	"roles":        {SQL: "a.roles", Type: query.TextList},
	"locked":       {SQL: "h.locked", Type: query.Bool},
	"created":      {SQL: "h.created_at", Type: query.Time},
}}

func is(field string, op querypb.Operator, value string) *querypb.Expr {
	return &querypb.Expr{Kind: &querypb.Expr_Compare{Compare: &querypb.Compare{Field: field, Operator: op, Value: value}}}
}

func and(list ...*querypb.Expr) *querypb.Expr {
	return &querypb.Expr{Kind: &querypb.Expr_And{And: &querypb.Exprs{List: list}}}
}

func not(e *querypb.Expr) *querypb.Expr { return &querypb.Expr{Kind: &querypb.Expr_Not{Not: e}} }

const (
	eq = querypb.Operator_OPERATOR_EQ
	ne = querypb.Operator_OPERATOR_NE
	cp = querypb.Operator_OPERATOR_CP
)

func TestCompile(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		where *querypb.Expr
		sql   string
		args  []any
	}{
		"nothing": {nil, "true", []any{"scope"}},
		"number":  {is("id", eq, "7"), "(h.id = $2)", []any{"scope", int64(7)}},
		"alias":   {is("state", eq, "fail"), "(h.state = $2)", []any{"scope", "failed"}},
		"mask":    {is("name", cp, `a%b_c\`), `((h.name)::text ILIKE $2)`, []any{"scope", `a%b\_c\\`}},
		"list":    {is("roles", cp, "%@admin%"), "(EXISTS (SELECT FROM unnest(a.roles) AS item WHERE item ILIKE $2))", []any{"scope", "%@admin%"}},
		"both":    {and(is("id", ne, "1"), not(is("cluster.name", eq, "x'; DROP"))), "((h.id IS DISTINCT FROM $2) AND NOT (c.name = $3))", []any{"scope", int64(1), "x'; DROP"}},
		"null":    {is("name", querypb.Operator_OPERATOR_IS_NULL, ""), "(h.name IS NULL)", []any{"scope"}},
		"bool":    {is("locked", eq, "false"), "(h.locked = $2)", []any{"scope", false}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, err := hosts.Compile(&querypb.Query{Where: tt.where}, "scope")
			if err != nil {
				t.Fatal(err)
			}
			if p.Where != tt.sql {
				t.Errorf("SQL %s, want %s", p.Where, tt.sql)
			}
			if d := cmp.Diff(tt.args, p.Args); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestCompileRefuses(t *testing.T) {
	t.Parallel()
	deep := is("id", eq, "1")
	for range 40 {
		deep = not(deep)
	}
	for name, tt := range map[string]struct {
		q    *querypb.Query
		says string
	}{
		"unknown field":  {&querypb.Query{Where: is("password", eq, "x")}, `unknown field "password"`},
		"not a number":   {&querypb.Query{Where: is("id", eq, "x")}, `"x" is not a number`},
		"not a time":     {&querypb.Query{Where: is("created", eq, "soon")}, "not a time"},
		"too deep":       {&querypb.Query{Where: deep}, "nested deeper"},
		"empty and":      {&querypb.Query{Where: and()}, "empty condition"},
		"zero byte":      {&querypb.Query{Where: is("name", eq, "a\x00")}, "zero byte"},
		"unknown order":  {&querypb.Query{OrderBy: []*querypb.Order{{Field: "1; DROP"}}}, "unknown field"},
		"negative":       {&querypb.Query{Offset: -1}, "negative"},
		"too many rows":  {&querypb.Query{Limit: 1001}, "at most 1000"},
		"no such action": {&querypb.Query{Where: is("id", 99, "1")}, "unknown operator"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := hosts.Compile(tt.q)
			if err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("error %v, want one that says %q", err, tt.says)
			}
		})
	}
}

func TestOrderIsTotal(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		keys []*querypb.Order
		want string
	}{
		"default": {nil, "h.id"},
		"one":     {[]*querypb.Order{{Field: "cluster.name", Descending: true}}, "c.name DESC, h.id"},
		"by id":   {[]*querypb.Order{{Field: "id", Descending: true}}, "h.id DESC"},
	} {
		p, err := hosts.Compile(&querypb.Query{OrderBy: tt.keys})
		if err != nil || p.Order != tt.want {
			t.Errorf("%s: %q %v, want %q", name, p.Order, err, tt.want)
		}
	}
}
