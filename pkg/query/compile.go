package query

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	querypb "slipway.dev/proto/query/v1"
)

// Caller is the account that asks for a page, and the bounds of the page.
type Caller struct {
	// Admin sees the rows of every account.
	Admin bool
	// MaxRows bounds a page.
	MaxRows int
}

// Page is a compiled request.
type Page struct {
	// SQL reads the rows of the page, Count the number of all rows that match; Args are the parameters of both.
	SQL, Count string
	Args       []any
	// CountArgs is how many of Args Count has.
	CountArgs int
	// Limit is the greatest number of rows of the page. If Paged, because more rows may be wanted after the page, SQL reads one
	// row more, and the order keys as the last column.
	Limit int
	Paged bool
	// Skewed reports that the number of matching rows depends so much on the values that a generic plan may be bad.
	Skewed bool

	keys []orderKey
	sum  string
}

// Compile checks a request against the list and returns the SQL of its page.
func (l List) Compile(q *querypb.Query, scope Scope, by Caller) (Page, error) {
	c := compiler{list: l, admin: by.Admin, args: slices.Clone(scope.Args), joins: map[string]bool{}, fields: map[string]bool{}}
	var p Page
	var err error
	if p.Limit, p.Paged, err = limit(q, by.MaxRows); err != nil {
		return p, err
	}
	where := "true"
	if q.GetWhere() != nil {
		if where, err = c.expr(q.GetWhere(), 0); err != nil {
			return p, err
		}
	}
	conditions := and(scope.SQL, l.Only, where)
	p.Count, p.CountArgs = c.count(conditions, scope), len(c.args)
	if p.keys, err = c.order(q.GetOrderBy()); err != nil {
		return p, err
	}
	p.sum = sum(l.From, where, c.args, p.keys)
	rows := p.Limit
	if p.Paged {
		after, err := c.after(p, q)
		if err != nil {
			return p, err
		}
		if after != "" {
			conditions = and(conditions, after)
		}
		rows++
	}
	p.SQL = c.page(conditions, p, rows, int(q.GetOffset()))
	p.Args, p.Skewed = c.args, c.skewed || q.GetCursor() != ""
	return p, nil
}

// limit returns the greatest number of rows of the page, and whether the request may want more rows after the page.
func limit(q *querypb.Query, most int) (rows int, more bool, err error) {
	switch n := int(q.GetLimit()); {
	case n < 0 || q.GetOffset() < 0:
		return 0, false, ErrFilter.With("a negative number").On("limit")
	case n == 0 || n > most:
		return most, true, nil
	default:
		return n, q.Cursor != nil, nil
	}
}

type compiler struct {
	list     List
	admin    bool
	args     []any
	compares int
	joins    map[string]bool // that conditions and order look into
	fields   map[string]bool // that conditions name
	skewed   bool
}

// page returns SQL that selects the rows of the page first, with only the joins which that needs, and then reads their columns.
func (c *compiler) page(conditions string, p Page, rows, offset int) string {
	l, order := c.list, orderSQL(p.keys)
	columns := l.Columns
	if p.Paged {
		columns += ", " + cursorColumn(p.keys)
	}
	return fmt.Sprintf("SELECT %s FROM (SELECT %s.* FROM %s%s WHERE %s ORDER BY %s LIMIT %d OFFSET %d) %s%s ORDER BY %s",
		columns, l.alias(), l.From, l.joins(c.joins, false), conditions, order, rows, offset, l.alias(), l.joins(nil, true), order)
}

// count returns SQL that counts the rows, from a counter if one has all fields of the condition.
func (c *compiler) count(conditions string, scope Scope) string {
	l := c.list
	for _, k := range l.Counters {
		if l.Only == "" && c.knows(k, scope) {
			return fmt.Sprintf("SELECT coalesce(sum(%s.n), 0)::int FROM %s %s%s WHERE %s",
				l.alias(), k.Table, l.alias(), l.joins(c.joins, false), conditions)
		}
	}
	return fmt.Sprintf("SELECT count(*)::int FROM %s%s WHERE %s", l.From, l.joins(c.joins, false), conditions)
}

// knows reports whether a counter has all that conditions and scope look at.
func (c *compiler) knows(k Counter, scope Scope) bool {
	if scope.SQL != "" && len(scope.Fields) == 0 {
		return false
	}
	if scope.SQL != "" && slices.ContainsFunc(scope.Fields, func(f string) bool { return !slices.Contains(k.Fields, f) }) {
		return false
	}
	for f := range c.fields {
		if !slices.Contains(k.Fields, f) {
			return false
		}
	}
	return true
}

// and joins conditions by AND and skips empty ones.
func and(conditions ...string) string {
	var list []string
	for _, c := range conditions {
		if c != "" && c != "true" {
			list = append(list, "("+c+")")
		}
	}
	if len(list) == 0 {
		return "true"
	}
	return strings.Join(list, " AND ")
}

func (c *compiler) expr(e *querypb.Expr, depth int) (string, error) {
	if depth > maxDepth {
		return "", ErrFilter.With("nested deeper than %d", maxDepth).On("where")
	}
	switch k := e.GetKind().(type) {
	case *querypb.Expr_And:
		return c.join(k.And.GetList(), " AND ", depth)
	case *querypb.Expr_Or:
		return c.join(k.Or.GetList(), " OR ", depth)
	case *querypb.Expr_Not:
		s, err := c.expr(k.Not, depth+1)
		return "(NOT " + s + ")", err
	case *querypb.Expr_Compare:
		return c.compare(k.Compare)
	default:
		return "", ErrFilter.With("an empty condition").On("where")
	}
}

func (c *compiler) join(list []*querypb.Expr, with string, depth int) (string, error) {
	if len(list) == 0 {
		return "", ErrFilter.With("an empty condition").On("where")
	}
	parts := make([]string, len(list))
	for i, e := range list {
		s, err := c.expr(e, depth+1)
		if err != nil {
			return "", err
		}
		parts[i] = s
	}
	return "(" + strings.Join(parts, with) + ")", nil
}

func (c *compiler) param(v any, cast string) string {
	c.args = append(c.args, v)
	return "$" + strconv.Itoa(len(c.args)) + "::" + cast
}
