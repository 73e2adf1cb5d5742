package query_test

import (
	"cmp"
	"context"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	querypb "slipway.dev/proto/query/v1"

	"slipway.dev/pkg/query"
)

// trailer records the trailer that a handler sends.
type trailer struct{ next, explain string }

func (t *trailer) in(ctx context.Context) context.Context {
	return grpc.NewContextWithServerTransportStream(ctx, t)
}

func (t *trailer) Method() string               { return "" }
func (t *trailer) SetHeader(metadata.MD) error  { return nil }
func (t *trailer) SendHeader(metadata.MD) error { return nil }
func (t *trailer) SetTrailer(md metadata.MD) error {
	t.next, t.explain = strings.Join(md.Get(query.NextKey), ""), strings.Join(md.Get(query.ExplainKey), "")
	return nil
}

// holds evaluates a filter on one row: a second, plain implementation of the filter language.
func holds(x thing, e *querypb.Expr) bool {
	switch k := e.GetKind().(type) {
	case *querypb.Expr_And:
		return !slices.ContainsFunc(k.And.GetList(), func(e *querypb.Expr) bool { return !holds(x, e) })
	case *querypb.Expr_Or:
		return slices.ContainsFunc(k.Or.GetList(), func(e *querypb.Expr) bool { return holds(x, e) })
	case *querypb.Expr_Not:
		return !holds(x, k.Not)
	}
	c := e.GetCompare()
	items := itemsOf(x, c.GetField())
	some := func(op querypb.Operator) bool {
		return slices.ContainsFunc(items, func(v any) bool { return single(c.GetField(), v, op, c.GetValue()) })
	}
	switch c.GetOperator() {
	case null:
		return len(items) == 0
	case ne:
		return !some(eq)
	default:
		return some(c.GetOperator())
	}
}

// itemsOf returns the values of a field, none for a null.
func itemsOf(x thing, field string) []any {
	switch field {
	case "id":
		return []any{x.ID}
	case "name":
		return []any{x.Name}
	case "size":
		if x.Size == nil {
			return nil
		}
		return []any{*x.Size}
	case "ok":
		return []any{x.OK}
	case "at":
		if x.At == nil {
			return nil
		}
		return []any{*x.At}
	case "ip":
		return []any{x.IP}
	case "mail":
		return []any{x.Mail}
	}
	var out []any
	for _, r := range x.Roles {
		out = append(out, r)
	}
	return out
}

func single(field string, v any, op querypb.Operator, text string) bool {
	if field == "name" && text == "alias" {
		text = "ab"
	}
	if field == "mail" {
		text = strings.ReplaceAll(text, " ", "+")
	}
	if op == cp {
		return like(shown(v), text)
	}
	if at, ok := v.(time.Time); ok { // lists show whole seconds
		v = at.Truncate(time.Second)
	}
	if op == eq {
		return compare(v, parsed(v, text)) == 0
	}
	order := compare(folded(v), folded(parsed(v, text)))
	switch op {
	case querypb.Operator_OPERATOR_GT:
		return order > 0
	case querypb.Operator_OPERATOR_GE:
		return order >= 0
	case querypb.Operator_OPERATOR_LT:
		return order < 0
	default:
		return order <= 0
	}
}

// like matches a pattern, letters of ASCII in any case.
func like(s, pattern string) bool {
	s, pattern = lower(s), lower(pattern)
	first, rest, more := strings.Cut(pattern, "%")
	if !more {
		return s == pattern
	}
	if !strings.HasPrefix(s, first) {
		return false
	}
	for i := len(first); i <= len(s); i++ {
		if like(s[i:], rest) || strings.Contains(rest, "%") && like(s[i:], rest) {
			return true
		}
	}
	return false
}

func lower(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 32
		}
		return r
	}, s)
}

// folded returns a text as it is ordered, without the case of its letters.
func folded(v any) any {
	if s, ok := v.(string); ok {
		return lower(s)
	}
	return v
}

func shown(v any) string {
	switch v := v.(type) {
	case int64:
		return strconv.FormatInt(v, 10)
	case bool:
		return strconv.FormatBool(v)
	case time.Time:
		return v.UTC().Format(time.DateTime)
	case netip.Addr:
		return v.String()
	default:
		return v.(string)
	}
}

func parsed(like any, text string) any {
	switch like.(type) {
	case int64:
		n, _ := strconv.ParseInt(text, 10, 64)
		return n
	case bool:
		return text == "true" || text == "1"
	case time.Time:
		for _, layout := range []string{time.DateTime, time.DateOnly, time.RFC3339} {
			if t, err := time.Parse(layout, text); err == nil {
				return t
			}
		}
	case netip.Addr:
		return netip.MustParseAddr(text)
	}
	return text
}

func compare(a, b any) int {
	switch a := a.(type) {
	case int64:
		return cmp.Compare(a, b.(int64))
	case bool:
		return cmp.Compare(shown(a), shown(b)) // "false" < "true"
	case time.Time:
		return a.Compare(b.(time.Time))
	case netip.Addr:
		return a.Compare(b.(netip.Addr))
	default:
		return strings.Compare(a.(string), b.(string))
	}
}

// selected returns the ids of all rows of a query, in order.
func selected(list []thing, q *querypb.Query) (ids []int64) {
	var out []thing
	for _, x := range list {
		if q.GetWhere() == nil || holds(x, q.GetWhere()) {
			out = append(out, x)
		}
	}
	slices.SortStableFunc(out, func(a, b thing) int {
		for _, k := range q.GetOrderBy() {
			if n := inOrder(itemsOf(a, k.GetField()), itemsOf(b, k.GetField())); n != 0 {
				if k.GetDescending() {
					return -n
				}
				return n
			}
		}
		return cmp.Compare(a.ID, b.ID)
	})
	for _, x := range out {
		ids = append(ids, x.ID)
	}
	return ids
}

// inOrder compares two values; a missing value comes last.
func inOrder(a, b []any) int {
	if len(a) == 0 || len(b) == 0 {
		return len(b) - len(a)
	}
	return compare(folded(a[0]), folded(b[0]))
}
