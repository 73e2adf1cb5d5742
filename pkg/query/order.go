package query

import (
	"slices"
	"strings"

	querypb "slipway.dev/proto/query/v1"

	"slipway.dev/pkg/fault"
)

// orderKey is one key of a compiled order.
type orderKey struct {
	sql        string
	typ        Type
	null       bool
	descending bool
}

// order compiles the order keys and adds the list's own key as the last one: pages are stable only if the order is total.
func (c *compiler) order(wanted []*querypb.Order) ([]orderKey, error) {
	l := c.list
	if len(wanted) > maxOrder {
		return nil, ErrFilter.With("more than %d fields", maxOrder).On("orderby")
	}
	if len(wanted) == 0 && l.Newest {
		wanted = []*querypb.Order{{Field: l.key(), Descending: true}}
	}
	var keys []orderKey
	for _, w := range wanted {
		f, ok := l.field(w.GetField(), c.admin)
		if !ok || !single(f) {
			return nil, ErrFilter.With("unknown field %q; allowed: %s", fault.Clip(w.GetField()), l.names(c.admin, single)).On("orderby")
		}
		if f.Needs != "" {
			c.joins[f.Needs] = true
		}
		unique := f.SQL == l.Fields[l.key()].SQL
		if f.Type.folds() {
			keys = append(keys, orderKey{fold(f.SQL), f.Type, f.Null, w.GetDescending()})
		}
		if !f.Type.folds() || unique { // values that differ in case alone have an order too
			keys = append(keys, orderKey{f.SQL, f.Type, f.Null, w.GetDescending()})
		}
		if unique {
			return keys, nil // what follows decides nothing
		}
	}
	f := l.Fields[l.key()]
	return append(keys, orderKey{f.SQL, f.Type, f.Null, false}), nil
}

// quick reports whether an index orders the rows so: by one field, then by the key.
func (l List) quick(wanted []*querypb.Order) bool {
	w := wanted[0]
	return w.GetField() == l.key() || len(wanted) == 1 && !w.GetDescending() && slices.Contains(l.Quick, w.GetField())
}

// folds reports whether the case of letters does not count when values of this type are ordered or matched.
func (t Type) folds() bool { return t == Text || t == Mail }

// fold returns SQL for a text without the case of its letters, in the one collation in which texts are ordered, compared and
// matched: by code point.
func fold(sql string) string { return "lower(" + sql + `) COLLATE "C"` }

func orderSQL(keys []orderKey) string {
	parts := make([]string, len(keys))
	for i, k := range keys {
		parts[i] = k.sql
		if k.descending {
			parts[i] += " DESC"
		}
	}
	return strings.Join(parts, ", ")
}
