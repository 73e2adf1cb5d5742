package query

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	querypb "slipway.dev/proto/query/v1"

	"slipway.dev/pkg/fault"
)

var operators = map[querypb.Operator]string{
	querypb.Operator_OPERATOR_EQ: "=",
	querypb.Operator_OPERATOR_GT: ">",
	querypb.Operator_OPERATOR_GE: ">=",
	querypb.Operator_OPERATOR_LT: "<",
	querypb.Operator_OPERATOR_LE: "<=",
}

// compare returns the SQL of one comparison. The SQL is true or false for every row and never null, so that NOT negates it.
func (c *compiler) compare(cmp *querypb.Compare) (string, error) {
	name, at := cmp.GetField(), cmp.GetPosition()
	f, ok := c.list.field(name, c.admin)
	if !ok {
		return "", ErrFilter.With("unknown field %q at %d; allowed: %s", fault.Clip(name), at, c.list.names(c.admin, anyField)).On("where")
	}
	if c.compares++; c.compares > maxCompares {
		return "", ErrFilter.With("more than %d comparisons", maxCompares).On("where")
	}
	c.fields[name] = true
	if f.Needs != "" {
		c.joins[f.Needs] = true
	}
	op := cmp.GetOperator()
	if op == querypb.Operator_OPERATOR_IS_NULL {
		return f.null(), nil
	}
	negative := op == querypb.Operator_OPERATOR_NE
	if negative {
		op = querypb.Operator_OPERATOR_EQ
	}
	c.skewed = c.skewed || negative || op != querypb.Operator_OPERATOR_EQ
	sql, err := c.holds(f, op, cmp.GetValue())
	if err == nil && f.Also != "" {
		sql, err = c.either(sql, f, op, cmp.GetValue())
	}
	if err != nil {
		return "", ErrFilter.With("field %q at %d: %s", name, at, err).On("where")
	}
	switch {
	case f.Each != "":
		sql = "EXISTS (SELECT FROM " + f.Each + " AND " + sql + ")"
	case f.Null:
		sql = "(" + sql + " AND " + f.SQL + " IS NOT NULL)"
	}
	if negative {
		return "(NOT " + sql + ")", nil
	}
	return sql, nil
}

// either returns the SQL of a comparison that sql or the field's other expression makes true.
func (c *compiler) either(sql string, f Field, op querypb.Operator, value string) (string, error) {
	f.SQL = f.Also
	also, err := c.holds(f, op, value)
	return "(" + sql + " OR " + also + ")", err
}

// null returns the SQL of IS null. A list is null if it is empty.
func (f Field) null() string {
	if f.Each != "" {
		return "(NOT EXISTS (SELECT FROM " + f.Each + "))"
	}
	return "(" + f.SQL + " IS NULL)"
}

// holds returns the SQL that compares the field, or one item of a list.
func (c *compiler) holds(f Field, op querypb.Operator, value string) (string, error) {
	if v, ok := f.Alias[value]; ok {
		value = v
	}
	if op == querypb.Operator_OPERATOR_CP {
		return c.pattern(f, value)
	}
	sql, ok := operators[op]
	if !ok {
		return "", fmt.Errorf("unknown operator")
	}
	v, err := f.Type.read(value)
	if err != nil {
		return "", err
	}
	if t, ok := v.(time.Time); ok {
		return c.second(f.SQL, op, t), nil
	}
	if f.Type.folds() && op != querypb.Operator_OPERATOR_EQ { // as the list is ordered
		return fmt.Sprintf("(%s %s lower(%s))", fold(f.SQL), sql, c.param(v, f.Type.cast())), nil
	}
	return fmt.Sprintf("(%s %s %s)", f.SQL, sql, c.param(v, f.Type.cast())), nil
}

// second returns the SQL that compares a time as lists show it, without the fraction of its second, with t. It compares
// the column itself, so that an index serves.
func (c *compiler) second(sql string, op querypb.Operator, t time.Time) string {
	from := t.Truncate(time.Second) // of the second that t is in; the whole second is shown as its beginning
	param := func(t time.Time) string { return c.param(t, Time.cast()) }
	switch {
	case op == querypb.Operator_OPERATOR_EQ && !from.Equal(t):
		return fmt.Sprintf("(%s < %s AND false)", sql, param(from))
	case op == querypb.Operator_OPERATOR_EQ:
		return fmt.Sprintf("(%s >= %s AND %s < %s)", sql, param(from), sql, param(from.Add(time.Second)))
	case op == querypb.Operator_OPERATOR_LE, op == querypb.Operator_OPERATOR_LT && !from.Equal(t):
		return fmt.Sprintf("(%s < %s)", sql, param(from.Add(time.Second)))
	case op == querypb.Operator_OPERATOR_LT:
		return fmt.Sprintf("(%s < %s)", sql, param(from))
	case op == querypb.Operator_OPERATOR_GE && from.Equal(t):
		return fmt.Sprintf("(%s >= %s)", sql, param(from))
	default:
		return fmt.Sprintf("(%s >= %s)", sql, param(from.Add(time.Second)))
	}
}

// pattern returns the SQL of CP: % matches any text, other characters match themselves, in either case. A pattern without %
// becomes an equality, which can use any index; the first bytes of an address become a network, which can use an index on
// addresses.
func (c *compiler) pattern(f Field, value string) (string, error) {
	text := f.SQL
	switch f.Type {
	case IP:
		if n, ok := front(value); ok {
			return fmt.Sprintf("(%s <<= %s)", f.SQL, c.param(n, "inet")), nil
		}
		if a, err := parseAddr(value); err == nil {
			return fmt.Sprintf("(%s = %s)", f.SQL, c.param(a, "inet")), nil
		}
		text = "host(" + f.SQL + ")"
	case Int:
		if n, err := f.Type.read(value); err == nil {
			return fmt.Sprintf("(%s = %s)", f.SQL, c.param(n, "bigint")), nil
		}
		text += "::text"
	case Bool:
		text += "::text"
	case Time: // as it is shown
		if t, err := f.Type.read(value); err == nil {
			return c.second(f.SQL, querypb.Operator_OPERATOR_EQ, t.(time.Time)), nil
		}
		text = "to_char(" + text + " AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS')"
	case Mail:
		value = plus(value)
	case Text:
	}
	if err := plain(value); err != nil {
		return "", err
	}
	if !strings.Contains(value, "%") {
		return fmt.Sprintf("(%s = lower(%s))", fold(text), c.param(value, "text")), nil
	}
	like := literal.Replace(value)
	return fmt.Sprintf("(%s LIKE lower(%s))", fold(text), c.param(like, "text")), nil
}

// literal escapes a pattern so that every character but % matches itself.
var literal = strings.NewReplacer(`\`, `\\`, `_`, `\_`)

// front parses a pattern such as "192.0.2.%", the first whole numbers of an IPv4 address, as a network.
func front(value string) (netip.Prefix, bool) {
	numbers, ok := strings.CutSuffix(value, ".%")
	if !ok {
		return netip.Prefix{}, false
	}
	n := strings.Count(numbers, ".") + 1
	if n > 3 {
		return netip.Prefix{}, false
	}
	a, err := netip.ParseAddr(numbers + strings.Repeat(".0", 4-n))
	if err != nil || !a.Is4() {
		return netip.Prefix{}, false
	}
	return netip.PrefixFrom(a, 8*n), true
}
