// Package query compiles the filter, order and page of a list request into SQL. What may be named is what the list
// declares; values become parameters; no text of a request ever becomes SQL text.
package query

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	querypb "slipway.dev/proto/query/v1"

	"slipway.dev/pkg/fault"
)

// Type says how values of a field are read.
type Type int

// Types of fields. A TextList is an array of texts: a comparison holds when it holds for one of them.
const (
	Int Type = iota
	Text
	Bool
	Time
	TextList
	IP
)

// Field is a column that clients may filter and order by.
type Field struct {
	// SQL is the expression, written by us.
	SQL  string
	Type Type
	// Alias maps other spellings of a value to the stored one, such as "fail" to "failed".
	Alias map[string]string
}

// List declares what one list offers.
type List struct {
	Fields map[string]Field
	// Default and Max bound the page; 0 stands for 1000 each.
	Default, Max int
}

// limits of a filter, so that no request costs more than its share.
const (
	maxDepth    = 32
	maxCompares = 1000
	maxLimit    = 1000
)

// ErrFilter refuses a filter, an order or a page. Source: the dialect's clients print the message of HTTP 400.
var ErrFilter = fault.Invalid

// Page is a compiled request. Where is a condition, "true" when everything matches; its parameters are the first of Args.
type Page struct {
	Where string
	Order string
	Args  []any
	Limit int
	// Offset counts rows to skip.
	Offset int
}

// Compile checks q against the list. args are parameters that the caller's own SQL uses already ($1 …); the filter's
// follow them.
func (l List) Compile(q *querypb.Query, args ...any) (Page, error) {
	c := compiler{list: l, args: slices.Clone(args)}
	p := Page{Where: "true", Limit: l.limit(q), Offset: int(q.GetOffset())}
	if q.GetOffset() < 0 || q.GetLimit() < 0 {
		return p, ErrFilter.With("limit: a negative number").On("limit")
	}
	if m := l.max(); int(q.GetLimit()) > m {
		return p, ErrFilter.With("limit: at most %d rows a page", m).On("limit")
	}
	if q.GetWhere() != nil {
		where, err := c.expr(q.GetWhere(), 0)
		if err != nil {
			return p, err
		}
		p.Where = where
	}
	order, err := l.order(q.GetOrderBy())
	if err != nil {
		return p, err
	}
	p.Order, p.Args = order, c.args
	return p, nil
}

// SQL completes a query: head is everything up to WHERE, scope the caller's own condition.
func (p Page) SQL(head, scope string) string {
	return fmt.Sprintf("%s WHERE (%s) AND (%s) ORDER BY %s LIMIT %d OFFSET %d", head, scope, p.Where, p.Order, p.Limit, p.Offset)
}

// CountSQL counts all rows that match, whatever the page.
func (p Page) CountSQL(from, scope string) string {
	return fmt.Sprintf("SELECT count(*)::int %s WHERE (%s) AND (%s)", from, scope, p.Where)
}

func (l List) max() int {
	if l.Max > 0 {
		return l.Max
	}
	return maxLimit
}

func (l List) limit(q *querypb.Query) int {
	switch {
	case q.GetLimit() > 0:
		return int(q.GetLimit())
	case l.Default > 0:
		return l.Default
	default:
		return l.max()
	}
}

func (l List) order(keys []*querypb.Order) (string, error) {
	var b strings.Builder
	byID := false
	for _, k := range keys {
		f, ok := l.Fields[k.GetField()]
		if !ok || f.Type == TextList {
			return "", ErrFilter.With("orderby: unknown field %q; allowed: %s", k.GetField(), l.names()).On("orderby")
		}
		byID = byID || k.GetField() == "id"
		b.WriteString(f.SQL)
		if k.GetDescending() {
			b.WriteString(" DESC")
		}
		b.WriteString(", ")
	}
	if byID {
		return strings.TrimSuffix(b.String(), ", "), nil
	}
	return b.String() + l.Fields["id"].SQL, nil // a page is only stable when the order is total
}

func (l List) names() string {
	names := make([]string, 0, len(l.Fields))
	for n := range l.Fields {
		names = append(names, n)
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

type compiler struct {
	list     List
	args     []any
	compares int
}

func (c *compiler) expr(e *querypb.Expr, depth int) (string, error) {
	if depth > maxDepth {
		return "", ErrFilter.With("where: nested deeper than %d", maxDepth).On("where")
	}
	switch k := e.GetKind().(type) {
	case *querypb.Expr_And:
		return c.join(k.And.GetList(), " AND ", depth)
	case *querypb.Expr_Or:
		return c.join(k.Or.GetList(), " OR ", depth)
	case *querypb.Expr_Not:
		s, err := c.expr(k.Not, depth+1)
		return "NOT " + s, err
	case *querypb.Expr_Compare:
		return c.compare(k.Compare)
	default:
		return "", ErrFilter.With("where: an empty condition").On("where")
	}
}

func (c *compiler) join(list []*querypb.Expr, with string, depth int) (string, error) {
	if len(list) == 0 {
		return "", ErrFilter.With("where: an empty condition").On("where")
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

var operators = map[querypb.Operator]string{
	querypb.Operator_OPERATOR_EQ: "=",
	querypb.Operator_OPERATOR_NE: "IS DISTINCT FROM", // rows without a value are not equal to it
	querypb.Operator_OPERATOR_GT: ">",
	querypb.Operator_OPERATOR_GE: ">=",
	querypb.Operator_OPERATOR_LT: "<",
	querypb.Operator_OPERATOR_LE: "<=",
}

func (c *compiler) compare(cmp *querypb.Compare) (string, error) {
	f, ok := c.list.Fields[cmp.GetField()]
	if !ok {
		return "", ErrFilter.With("where: unknown field %q at %d; allowed: %s", cmp.GetField(), cmp.GetPosition(), c.list.names()).On("where")
	}
	if c.compares++; c.compares > maxCompares {
		return "", ErrFilter.With("where: more than %d comparisons", maxCompares).On("where")
	}
	op := cmp.GetOperator()
	if op == querypb.Operator_OPERATOR_IS_NULL {
		return "(" + f.SQL + " IS NULL)", nil
	}
	if op == querypb.Operator_OPERATOR_CP {
		return c.pattern(f, cmp.GetValue()), nil
	}
	sql, ok := operators[op]
	if !ok {
		return "", ErrFilter.With("where: unknown operator at %d", cmp.GetPosition()).On("where")
	}
	v, err := f.read(cmp.GetValue())
	if err != nil {
		return "", ErrFilter.With("where: field %q at %d: %s", cmp.GetField(), cmp.GetPosition(), err).On("where")
	}
	if f.Type == TextList {
		if op == querypb.Operator_OPERATOR_NE {
			return fmt.Sprintf("(NOT %s = ANY(%s))", c.param(v), f.SQL), nil
		}
		return fmt.Sprintf("(EXISTS (SELECT FROM unnest(%s) AS item WHERE item %s %s))", f.SQL, sql, c.param(v)), nil
	}
	return fmt.Sprintf("(%s %s %s)", f.SQL, sql, c.param(v)), nil
}

// pattern is CP: any text for %, everything else literal. Letters compare without regard to case, as in the original.
func (c *compiler) pattern(f Field, value string) string {
	if a, ok := f.Alias[value]; ok {
		value = a
	}
	like := strings.NewReplacer(`\`, `\\`, `_`, `\_`).Replace(value)
	if f.Type == TextList {
		return fmt.Sprintf("(EXISTS (SELECT FROM unnest(%s) AS item WHERE item ILIKE %s))", f.SQL, c.param(like))
	}
	if f.Type == IP {
		return fmt.Sprintf("(host(%s) ILIKE %s)", f.SQL, c.param(like))
	}
	return fmt.Sprintf("((%s)::text ILIKE %s)", f.SQL, c.param(like))
}

func (c *compiler) param(v any) string {
	c.args = append(c.args, v)
	return "$" + strconv.Itoa(len(c.args))
}

// read turns the text of a value into what the field holds.
func (f Field) read(value string) (any, error) {
	if a, ok := f.Alias[value]; ok {
		value = a
	}
	switch f.Type {
	case Int:
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("%q is not a number", clip(value))
		}
		return n, nil
	case Bool:
		switch strings.ToLower(value) {
		case "true", "1", "on", "yes":
			return true, nil
		case "false", "0", "off", "no":
			return false, nil
		}
		return nil, fmt.Errorf("%q is neither true nor false", clip(value))
	case Time:
		for _, layout := range []string{time.DateTime, time.RFC3339, time.DateOnly} {
			if t, err := time.Parse(layout, value); err == nil {
				return t, nil
			}
		}
		return nil, fmt.Errorf("%q is not a time such as %q", clip(value), time.DateTime)
	case IP:
		a, err := parseAddr(value)
		if err != nil {
			return nil, fmt.Errorf("%q is not an address", clip(value))
		}
		return a, nil
	default:
		if strings.ContainsRune(value, 0) {
			return nil, fmt.Errorf("a zero byte")
		}
		return value, nil
	}
}

func clip(s string) string {
	if len(s) > 40 {
		return s[:40] + "…"
	}
	return s
}
