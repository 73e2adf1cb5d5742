package where

import (
	"net/url"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/text/unicode/norm"

	querypb "slipway.dev/proto/query/v1"

	"slipway.dev/pkg/fault"
)

// Names of the parameters of a list.
const (
	ParamWhere = "where"
	ParamOrder = "orderby"
	ParamLimit = "limit"
	// ParamFields are the fields of an item in the answer.
	ParamFields = "fields"
	// ParamCursor is the cursor of a page; empty for the first page.
	ParamCursor = "cursor"
	// ParamExplain asks for an explanation of how the list is read.
	ParamExplain = "explain"
	// ParamCount, if 0, omits the number of all rows.
	ParamCount = "count"
)

var params = []string{ParamWhere, ParamOrder, ParamLimit, ParamCursor, ParamExplain, ParamCount}

// Query reads the parameters of a list and returns nil if there are none. All where parameters must hold.
func Query(v url.Values) (*querypb.Query, error) {
	if !slices.ContainsFunc(params, v.Has) {
		return nil, nil
	}
	q := &querypb.Query{}
	var all []*querypb.Expr
	for _, text := range v[ParamWhere] {
		e, err := Parse(norm.NFC.String(text)) // as texts are stored
		if err != nil {
			return nil, err
		}
		all = append(all, e)
	}
	q.Where = And(all...)
	for _, text := range v[ParamOrder] {
		keys, err := Order(text)
		if err != nil {
			return nil, err
		}
		q.OrderBy = append(q.OrderBy, keys...)
	}
	for _, text := range v[ParamLimit] {
		var err error
		if q.Offset, q.Limit, err = Limit(text); err != nil {
			return nil, err
		}
	}
	for _, text := range v[ParamCursor] {
		q.Cursor = &text
	}
	q.Explain, q.Uncounted = Explain(v), v.Get(ParamCount) == "0"
	return q, nil
}

// Explain reports whether the client asks for an explanation.
func Explain(v url.Values) bool {
	list := v[ParamExplain]
	return len(list) > 0 && list[len(list)-1] != "0" && list[len(list)-1] != "false"
}

// Fields reads the fields of an item in the answer; none means all.
func Fields(v url.Values) []string {
	var names []string
	for _, text := range v[ParamFields] {
		for name := range strings.SplitSeq(text, ",") {
			if name = strings.TrimSpace(name); name != "" {
				names = append(names, name)
			}
		}
	}
	return names
}

// Order reads "field [asc|desc], …".
func Order(text string) ([]*querypb.Order, error) {
	var keys []*querypb.Order
	if strings.TrimSpace(text) == "" {
		return nil, nil
	}
	for part := range strings.SplitSeq(text, ",") {
		words := strings.Fields(part)
		if len(words) == 0 || len(words) > 2 || !isName(words[0]) {
			return nil, orderFault(part)
		}
		key := &querypb.Order{Field: words[0]}
		if len(words) == 2 {
			switch strings.ToLower(words[1]) {
			case "asc":
			case "desc":
				key.Descending = true
			default:
				return nil, orderFault(part)
			}
		}
		keys = append(keys, key)
	}
	return keys, nil
}

func orderFault(part string) error {
	return fault.Invalid.With("expected a field with asc or desc after it, found %s", quote(part)).On(ParamOrder)
}

func isName(s string) bool {
	for i := range len(s) {
		if !isField(s[i]) {
			return false
		}
	}
	return s != ""
}

// Limit reads "count" or "offset,count".
func Limit(text string) (offset, count int32, err error) {
	if strings.TrimSpace(text) == "" {
		return 0, 0, nil
	}
	from, rows, both := strings.Cut(text, ",")
	if !both {
		from, rows = "0", text
	}
	o, err1 := strconv.ParseUint(strings.TrimSpace(from), 10, 31)
	c, err2 := strconv.ParseUint(strings.TrimSpace(rows), 10, 31)
	if err1 != nil || err2 != nil {
		return 0, 0, fault.Invalid.With("expected a number of rows such as 50, or first row and number such as 0,50; found %s",
			quote(text)).On(ParamLimit)
	}
	return int32(o), int32(c), nil
}
