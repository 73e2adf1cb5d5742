package query_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	querypb "slipway.dev/proto/query/v1"

	"slipway.dev/pkg/query"
)

var hosts = query.List{
	From: "host h",
	Joins: []query.Join{
		{Alias: "c", SQL: "LEFT JOIN cluster c ON c.id = h.cluster_id"},
		{Alias: "n", SQL: "LEFT JOIN node n ON n.id = h.node_id"},
	},
	Columns: "h.id, c.name",
	Counters: []query.Counter{
		{Table: "host_count", Fields: []string{"state", "cluster.name"}},
		{Table: "host_count_of", Fields: []string{"state", "cluster.name", "owner"}},
	},
	Fields: map[string]query.Field{
		"id":           {SQL: "h.id", Type: query.Int},
		"name":         {SQL: "h.name", Type: query.Text},
		"state":        {SQL: "h.state", Type: query.Text, Alias: map[string]string{"fail": "failed"}},
		"cluster.name": {SQL: "c.name", Type: query.Text, Null: true, Needs: "c"},
		"email":        {SQL: "h.email", Type: query.Mail},
		"roles":        {SQL: "role", Type: query.Text, Each: "unnest(h.roles) AS role WHERE true"},
		"ip":           {SQL: "h.ip", Type: query.IP},
		"locked":       {SQL: "h.locked", Type: query.Bool},
		"created":      {SQL: "h.created_at", Type: query.Time},
		"secret":       {SQL: "h.secret", Type: query.Text, Admin: true},
	},
}

var (
	admin = query.Caller{Admin: true, MaxRows: 1000}
	user  = query.Caller{MaxRows: 1000}
)

func is(field string, op querypb.Operator, value string) *querypb.Expr {
	return &querypb.Expr{Kind: &querypb.Expr_Compare{Compare: &querypb.Compare{Field: field, Operator: op, Value: value}}}
}

func and(list ...*querypb.Expr) *querypb.Expr {
	return &querypb.Expr{Kind: &querypb.Expr_And{And: &querypb.Exprs{List: list}}}
}

func or(list ...*querypb.Expr) *querypb.Expr {
	return &querypb.Expr{Kind: &querypb.Expr_Or{Or: &querypb.Exprs{List: list}}}
}

func not(e *querypb.Expr) *querypb.Expr { return &querypb.Expr{Kind: &querypb.Expr_Not{Not: e}} }

const (
	eq   = querypb.Operator_OPERATOR_EQ
	ne   = querypb.Operator_OPERATOR_NE
	cp   = querypb.Operator_OPERATOR_CP
	null = querypb.Operator_OPERATOR_IS_NULL
)

func TestConditions(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		where *querypb.Expr
		sql   string
		args  []any
	}{
		"number":              {is("id", eq, "7"), "(h.id = $2::bigint)", []any{int64(7)}},
		"alias":               {is("state", eq, "fail"), "(h.state = $2::text)", []any{"failed"}},
		"whole":               {is("name", cp, `a_c\`), `(lower(h.name) COLLATE "C" = lower($2::text))`, []any{`a_c\`}},
		"pattern":             {is("name", cp, `a%b_c\`), `(lower(h.name) COLLATE "C" LIKE lower($2::text))`, []any{`a%b\_c\\`}},
		"pattern of a number": {is("id", cp, "1%"), "(lower(h.id::text) COLLATE \"C\" LIKE lower($2::text))", []any{"1%"}},
		"number as pattern":   {is("id", cp, "12"), "(h.id = $2::bigint)", []any{int64(12)}},
		"list":                {is("roles", cp, "%@admin%"), "EXISTS (SELECT FROM unnest(h.roles) AS role WHERE true AND (lower(role) COLLATE \"C\" LIKE lower($2::text)))", []any{"%@admin%"}},
		"not in list":         {is("roles", ne, "x"), "(NOT EXISTS (SELECT FROM unnest(h.roles) AS role WHERE true AND (role = $2::text)))", []any{"x"}},
		"empty list":          {is("roles", null, ""), "(NOT EXISTS (SELECT FROM unnest(h.roles) AS role WHERE true))", []any{}},
		"both":                {and(is("id", ne, "1"), not(is("cluster.name", eq, "x'; DROP"))), "((NOT (h.id = $2::bigint)) AND (NOT ((c.name = $3::text) AND c.name IS NOT NULL)))", []any{int64(1), "x'; DROP"}},
		"null":                {is("name", null, ""), "(h.name IS NULL)", []any{}},
		"bool":                {is("locked", eq, "false"), "(h.locked = $2::boolean)", []any{false}},
		"mail":                {is("email", eq, "a b@x.org"), "(h.email = $2::text)", []any{"a+b@x.org"}},
		"network":             {is("ip", cp, "192.0.2.%"), "(h.ip <<= $2::inet)", nil},
		"address":             {is("ip", cp, "192.0.2.1"), "(h.ip = $2::inet)", nil},
		"end":                 {is("ip", cp, "%.1"), "(lower(host(h.ip)) COLLATE \"C\" LIKE lower($2::text))", []any{"%.1"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, err := hosts.Compile(&querypb.Query{Where: tt.where}, query.Scope{SQL: "h.owner = $1", Args: []any{"me"}}, user)
			if err != nil {
				t.Fatal(err)
			}
			if want := "WHERE (h.owner = $1) AND (" + tt.sql + ")"; !strings.Contains(p.SQL, want+" ORDER BY") || !strings.HasSuffix(p.Count, want) {
				t.Errorf("want %s in\n%s\n%s", want, p.SQL, p.Count)
			}
			if d := cmp.Diff(tt.args, p.Args[1:], cmpopts.EquateEmpty()); tt.args != nil && d != "" {
				t.Error(d)
			}
		})
	}
}

// TestShape checks that the rows of a page are selected with only the necessary joins, that other columns are read for those
// rows alone, and that numbers come from a counter if it has the fields.
func TestShape(t *testing.T) {
	t.Parallel()
	scope := query.Scope{SQL: "h.owner = $1", Args: []any{7}}
	for name, tt := range map[string]struct {
		q          *querypb.Query
		scope      query.Scope
		sql, count string
	}{
		"all": {
			nil,
			query.Scope{},
			"SELECT h.id, c.name, ARRAY[(h.id)::text] AS cursor_keys FROM (SELECT h.* FROM host h WHERE true ORDER BY h.id LIMIT 1001 OFFSET 0) h " +
				"LEFT JOIN cluster c ON c.id = h.cluster_id LEFT JOIN node n ON n.id = h.node_id ORDER BY h.id",
			"SELECT coalesce(sum(h.n), 0)::int FROM host_count h WHERE true",
		},
		"counted": {
			&querypb.Query{Where: or(is("state", eq, "a"), is("cluster.name", eq, "b"))},
			query.Scope{},
			"",
			"SELECT coalesce(sum(h.n), 0)::int FROM host_count h LEFT JOIN cluster c ON c.id = h.cluster_id " +
				"WHERE (((h.state = $1::text) OR ((c.name = $2::text) AND c.name IS NOT NULL)))",
		},
		"not counted":    {&querypb.Query{Where: is("name", eq, "a")}, query.Scope{}, "", "SELECT count(*)::int FROM host h WHERE ((h.name = $1::text))"},
		"counted for me": {nil, scope, "", "SELECT count(*)::int FROM host h WHERE (h.owner = $1)"},
		"by a counter of mine": {
			&querypb.Query{Where: is("state", eq, "a")},
			query.Scope{SQL: scope.SQL, Args: scope.Args, Fields: []string{"owner"}},
			"",
			"SELECT coalesce(sum(h.n), 0)::int FROM host_count_of h WHERE (h.owner = $1) AND ((h.state = $2::text))",
		},
		"by no counter of mine": {
			&querypb.Query{Where: is("name", eq, "a")},
			query.Scope{SQL: scope.SQL, Args: scope.Args, Fields: []string{"owner"}},
			"",
			"SELECT count(*)::int FROM host h WHERE (h.owner = $1) AND ((h.name = $2::text))",
		},
		"all, though fields are named": {nil, query.Scope{Fields: []string{"owner"}}, "", "SELECT coalesce(sum(h.n), 0)::int FROM host_count h WHERE true"},
		"order": {
			&querypb.Query{OrderBy: []*querypb.Order{{Field: "cluster.name", Descending: true}}, Offset: 5, Limit: 10}, scope,
			"SELECT h.id, c.name FROM (SELECT h.* FROM host h LEFT JOIN cluster c ON c.id = h.cluster_id WHERE (h.owner = $1) " +
				"ORDER BY lower(c.name) COLLATE \"C\" DESC, h.id LIMIT 10 OFFSET 5) h LEFT JOIN cluster c ON c.id = h.cluster_id " +
				"LEFT JOIN node n ON n.id = h.node_id ORDER BY lower(c.name) COLLATE \"C\" DESC, h.id", "",
		},
	} {
		p, err := hosts.Compile(tt.q, tt.scope, user)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if tt.sql != "" && p.SQL != tt.sql {
			t.Errorf("%s:\n%s, want\n%s", name, p.SQL, tt.sql)
		}
		if tt.count != "" && p.Count != tt.count {
			t.Errorf("%s:\n%s, want\n%s", name, p.Count, tt.count)
		}
	}
}

func TestCompileRefuses(t *testing.T) {
	t.Parallel()
	deep := is("id", eq, "1")
	for range 40 {
		deep = not(deep)
	}
	page := func(cursor string) *querypb.Query { return &querypb.Query{Cursor: &cursor} }
	for name, tt := range map[string]struct {
		q    *querypb.Query
		says string
	}{
		"unknown field":   {&querypb.Query{Where: is("password", eq, "x")}, `unknown field "password" at 0; allowed: cluster.name, created, email, id, ip, locked, name, roles, state`},
		"not for users":   {&querypb.Query{Where: is("secret", cp, "%")}, `unknown field "secret" at 0; allowed: cluster.name, created, email, id, ip, locked, name, roles, state`},
		"order for admin": {&querypb.Query{OrderBy: []*querypb.Order{{Field: "secret"}}}, `unknown field "secret"`},
		"order by list":   {&querypb.Query{OrderBy: []*querypb.Order{{Field: "roles"}}}, `unknown field "roles"; allowed: cluster.name, created, email, id, ip, locked, name, state`},
		"not a number":    {&querypb.Query{Where: is("id", eq, "x")}, `"x" is not a number`},
		"huge number":     {&querypb.Query{Where: is("id", eq, "99999999999999999999")}, "is not a number"},
		"not a time":      {&querypb.Query{Where: is("created", eq, "soon")}, "not a time"},
		"too deep":        {&querypb.Query{Where: deep}, "nested deeper"},
		"empty and":       {&querypb.Query{Where: and()}, "empty condition"},
		"zero byte":       {&querypb.Query{Where: is("name", eq, "a\x00")}, "not a text"},
		"zero byte in CP": {&querypb.Query{Where: is("name", cp, "a\x00%")}, "not a text"},
		"unknown order":   {&querypb.Query{OrderBy: []*querypb.Order{{Field: "1; DROP"}}}, "unknown field"},
		"negative":        {&querypb.Query{Offset: -1}, "negative"},
		"no such action":  {&querypb.Query{Where: is("id", 99, "1")}, "unknown operator"},
		"no cursor":       {page("x"), "cursor: not one that a list answered"},
		"empty cursor":    {page("e30"), "cursor: not one that a list answered"},
		"other cursor":    {page("eyJ2IjoxLCJxIjoiMDAiLCJrIjpbIjEiXX0"), "another filter or order"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := hosts.Compile(tt.q, query.Scope{}, user)
			if err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("error %v, want one that says %q", err, tt.says)
			}
		})
	}
	if _, err := hosts.Compile(&querypb.Query{Where: is("secret", eq, "x")}, query.Scope{}, admin); err != nil {
		t.Errorf("an administrator may filter by what only administrators see: %v", err)
	}
}

func TestOrderIsTotal(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		keys []*querypb.Order
		want string
	}{
		"default": {nil, "h.id"},
		"one":     {[]*querypb.Order{{Field: "cluster.name", Descending: true}}, `lower(c.name) COLLATE "C" DESC, h.id`},
		"by id":   {[]*querypb.Order{{Field: "id", Descending: true}}, "h.id DESC"},
		"past id": {[]*querypb.Order{{Field: "id"}, {Field: "name"}}, "h.id"},
	} {
		p, err := hosts.Compile(&querypb.Query{OrderBy: tt.keys}, query.Scope{}, user)
		if err != nil || !strings.HasSuffix(p.SQL, "ORDER BY "+tt.want) {
			t.Errorf("%s: %q %v, want %q", name, p.SQL, err, tt.want)
		}
	}
}

// words matches what generated SQL may contain.
var words = regexp.MustCompile(`^(` + strings.Join([]string{
	`SELECT h\.id, c\.name(, ARRAY\[[^\]]*\] AS cursor_keys)? FROM `, `SELECT h\.\*`, `SELECT FROM `, `SELECT count\(\*\)::int`, `SELECT coalesce\(sum\(h\.n\), 0\)::int`,
	` FROM `, `host_count h`, `host h`, `LEFT JOIN cluster c ON c\.id = h\.cluster_id`, `LEFT JOIN node n ON n\.id = h\.node_id`,
	`unnest\(h\.roles\) AS role`, ` WHERE `, `EXISTS `, `NOT `, ` AND `, ` OR `, `true`, `false`, ` IS NOT NULL`, ` IS NULL`, ` ORDER BY `, ` DESC`, ` LIMIT \d+ OFFSET \d+`,
	`\$\d+::(text|bigint|boolean|timestamptz|inet)`, `h\.(id|name|state|email|ip|locked|created_at|secret)`, `c\.name`, `role`, `::text`, `lower`, `host`,
	` COLLATE "C"`, `to_char`, ` AT TIME ZONE 'UTC'`, `'YYYY-MM-DD HH24:MI:SS'`,
	` (=|<|>|<=|>=|<<=|LIKE) `, `\)? h `, `, `, `\(`, `\)`, ` h$`, ` `,
}, "|") + `)`)

// checkSQL returns the rest of generated SQL from the first unknown word on.
func checkSQL(sql string) string {
	for sql != "" {
		n := len(words.FindString(sql))
		if n == 0 {
			return sql
		}
		sql = sql[n:]
	}
	return ""
}
