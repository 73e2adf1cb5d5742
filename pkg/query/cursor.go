package query

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"

	querypb "slipway.dev/proto/query/v1"
)

// cursor is the end of a page: the order keys of its last row, for the filter and order with this sum. A cursor is no secret
// and no proof: the rows after a forged one are still within the caller's scope.
type cursor struct {
	Version int       `json:"v"`
	Sum     string    `json:"q"`
	Keys    []*string `json:"k"`
}

const cursorVersion = 1

func (c cursor) String() string {
	text, err := json.Marshal(c)
	if err != nil {
		panic(err) // strings and numbers
	}
	return base64.RawURLEncoding.EncodeToString(text)
}

// sum returns a checksum of the filter and order.
func sum(from, where string, args []any, keys []orderKey) string {
	h := sha256.New()
	fmt.Fprintf(h, "%s\n%s\n%s\n", from, where, orderSQL(keys))
	for _, a := range args {
		fmt.Fprintf(h, "%v\x00", a)
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// cursorColumn returns the SQL of the order keys of a row as text.
func cursorColumn(keys []orderKey) string {
	parts := make([]string, len(keys))
	for i, k := range keys {
		parts[i] = "(" + k.sql + ")::text"
		if k.typ == IP {
			parts[i] = "host(" + k.sql + ")"
		}
	}
	return "ARRAY[" + strings.Join(parts, ", ") + "] AS cursor_keys"
}

// after returns the condition on rows that come after the cursor.
func (c *compiler) after(p Page, q *querypb.Query) (string, error) {
	if q.GetOffset() != 0 && q != nil && q.Cursor != nil {
		return "", badCursor("a page is found by a cursor or by an offset, not by both")
	}
	if q.GetCursor() == "" {
		return "", nil
	}
	at, err := readCursor(q.GetCursor())
	if err != nil || at.Version != cursorVersion {
		return "", badCursor("not one that a list answered")
	}
	if at.Sum != p.sum || len(at.Keys) != len(p.keys) {
		return "", badCursor("it belongs to another filter or order")
	}
	values := make([]string, len(p.keys))
	for i, text := range at.Keys {
		if text == nil && p.keys[i].null {
			continue
		}
		if text == nil {
			return "", badCursor("not one that a list answered")
		}
		v, err := p.keys[i].typ.read(*text)
		if err != nil {
			return "", badCursor("not one that a list answered")
		}
		values[i] = c.param(v, p.keys[i].typ.cast())
	}
	return behind(p.keys, values), nil
}

func readCursor(text string) (at cursor, err error) {
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return at, err
	}
	err = json.Unmarshal(raw, &at)
	return at, err
}

func badCursor(why string) error { return ErrFilter.With("%s", why).On("cursor") }

// behind returns SQL that is true for rows that come after the row with these values; "" is null. PostgreSQL puts nulls last,
// and first in a descending order.
func behind(keys []orderKey, values []string) string {
	var ways []string
	equal := ""
	for i, k := range keys {
		if way := k.behind(values[i]); way != "" {
			ways = append(ways, "("+equal+way+")")
		}
		equal += k.equal(values[i]) + " AND "
	}
	if len(ways) == 0 {
		return "false"
	}
	all := "(" + strings.Join(ways, " OR ") + ")"
	if k := keys[0]; len(keys) > 1 && !k.null { // what an index can start from
		all = fmt.Sprintf("(%s %s= %s AND %s)", k.sql, k.direction(), values[0], all)
	}
	return all
}

func (k orderKey) direction() string {
	if k.descending {
		return "<"
	}
	return ">"
}

func (k orderKey) equal(value string) string {
	if value == "" {
		return k.sql + " IS NULL"
	}
	return k.sql + " = " + value
}

func (k orderKey) behind(value string) string {
	switch {
	case value == "" && k.descending:
		return k.sql + " IS NOT NULL"
	case value == "":
		return ""
	case k.null && !k.descending:
		return fmt.Sprintf("(%s > %s OR %s IS NULL)", k.sql, value, k.sql)
	default:
		return fmt.Sprintf("%s %s %s", k.sql, k.direction(), value)
	}
}
