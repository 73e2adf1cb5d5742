package query

import (
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
		keys = append(keys, orderKey{f.SQL, f.Type, f.Null, w.GetDescending()})
		if f.SQL == l.Fields[l.key()].SQL {
			return keys, nil // what follows decides nothing
		}
	}
	f := l.Fields[l.key()]
	return append(keys, orderKey{f.SQL, f.Type, f.Null, false}), nil
}

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
