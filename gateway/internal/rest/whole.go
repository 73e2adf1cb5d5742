package rest

import (
	"maps"
	"net/url"
	"slices"

	"google.golang.org/protobuf/proto"

	"slipway.dev/pkg/fault"
)

// isWhole reports whether a route answers a list that its service always answers whole, because it is short.
func (r Route) isWhole() bool {
	return !r.Body && queryOf(r.RPC.Input()) == nil && itemOf(r.RPC.Output()) != nil
}

// checkWhole refuses the parameters that a list without a query cannot follow: without them the answer would be longer, or in
// another order, than the client believes.
func (c *call) checkWhole(values url.Values) error {
	for _, name := range slices.Sorted(maps.Keys(values)) {
		page, err := c.api.dialect.Page(url.Values{name: values[name]})
		if err != nil {
			return err
		}
		if q := page.Query; q.GetWhere() != nil || len(q.GetOrderBy()) > 0 || page.Cursor || page.Explain {
			return fault.Invalid.With("this list is short: it takes neither conditions nor orders nor a cursor").On(name)
		}
	}
	return nil
}

// cut removes the items of a list that are not of the page.
func cut(out proto.Message, page Page) {
	m := out.ProtoReflect()
	fd := m.Descriptor().Fields().ByName(listField)
	all := m.Mutable(fd).List()
	from := min(int(page.Query.GetOffset()), all.Len())
	n := all.Len() - from
	if most := int(page.Query.GetLimit()); most > 0 {
		n = min(n, most)
	}
	for i := range n {
		all.Set(i, all.Get(from+i))
	}
	all.Truncate(n)
}
