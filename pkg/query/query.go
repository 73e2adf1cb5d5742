// Package query runs the lists of a service: it compiles the filter, order and page of a request into SQL and reads the
// page and the number of all rows. A request can name only fields that the list declares; values become parameters; no text of
// a request ever becomes SQL text.
package query

import (
	"maps"
	"slices"
	"strings"

	querypb "slipway.dev/proto/query/v1"

	"slipway.dev/pkg/fault"
)

// Type is the type of a field's values.
type Type int

// Types of fields. Mail is text in which a space means a + that the client did not encode, because no address has a space.
const (
	Int Type = iota
	Text
	Bool
	Time
	IP
	Mail
)

// Field is a property of a row by which clients may filter and order.
type Field struct {
	// SQL is the expression, which is a constant of the program.
	SQL  string
	Type Type
	// Null reports that the expression may be null. Only "IS null", NE and NOT are true for a row without a value.
	Null bool
	// Needs is the alias of the join that SQL reads from. Other joins are left out where rows are only counted.
	Needs string
	// Each makes the field a list, from which SQL reads one item: "host_address x WHERE x.host_id = h.id". A comparison is
	// true if it is true for one of the items, NE if EQ is true for none. Rows cannot be ordered by a list.
	Each string
	// Admin hides the field from callers who do not see the rows of every account.
	Admin bool
	// Also is a further expression of the same type: a comparison is true if it is true for one of the two, NE if EQ is true
	// for neither. Orders do not look at it.
	Also string
	// Alias maps other spellings of a value to the stored spelling, such as "fail" to "failed".
	Alias map[string]string
}

// Join adds columns of another table to a row. It must not change the number of rows: use a LEFT JOIN if the other row may be
// missing.
type Join struct{ Alias, SQL string }

// Counter is a table of how many rows have which values. It has the columns of some fields, and n. It replaces the list's
// table, under the same alias, in queries that use only those fields.
type Counter struct {
	Table  string
	Fields []string
}

// List declares a list, once, beside its table.
type List struct {
	// From is the table and its alias: "host h".
	From  string
	Joins []Join
	// Columns are the columns that are read of each row.
	Columns string
	// Only is a condition on every row; empty for none. Counters do not apply it.
	Only   string
	Fields map[string]Field
	// Key is the field that is unique in the list and ends every order; "id" if empty. Newest reverses the order for requests
	// without one.
	Key    string
	Newest bool
	// Quick are the fields besides the key by which an index orders the rows, however many there are. By others rows can
	// be ordered as long as that takes no longer than the time limit of a statement.
	Quick []string
	// Counters make the number of all rows cheap.
	Counters []Counter
	// LastNotify is an expression for the number of the last change.
	LastNotify string
}

// Scope is the condition that limits a list to the rows of the caller; it applies to the page and to the number of rows.
// Parameters of the condition are $1 and so on. The zero Scope is every row.
type Scope struct {
	SQL  string
	Args []any
	// Fields are the fields of the list that SQL looks at, so that a counter which has them applies; empty if it looks at
	// other things.
	Fields []string
}

// Limits of a filter, which bound the cost of a request.
const (
	maxDepth    = 32
	maxCompares = 1000
	maxOrder    = 16
)

// ErrFilter is the fault of a filter, an order or a page.
var ErrFilter = fault.Invalid

func (l List) key() string {
	if l.Key == "" {
		return "id"
	}
	return l.Key
}

// alias returns the alias of the list's table in expressions.
func (l List) alias() string { return l.From[strings.LastIndexByte(l.From, ' ')+1:] }

// joins returns the SQL of the wanted joins of the list, or of all.
func (l List) joins(wanted map[string]bool, all bool) string {
	var b strings.Builder
	for _, j := range l.Joins {
		if all || wanted[j.Alias] {
			b.WriteString(" " + j.SQL)
		}
	}
	return b.String()
}

// field returns the field of this name, if the caller may use it.
func (l List) field(name string, admin bool) (Field, bool) {
	f, ok := l.Fields[name]
	return f, ok && (admin || !f.Admin)
}

// names returns the names of the fields that a caller may use, for messages.
func (l List) names(admin bool, ok func(Field) bool) string {
	var names []string
	for _, n := range slices.Sorted(maps.Keys(l.Fields)) {
		if f, known := l.field(n, admin); known && ok(f) {
			names = append(names, n)
		}
	}
	return strings.Join(names, ", ")
}

// Names reports whether a condition names one of the fields.
func Names(e *querypb.Expr, fields ...string) bool {
	in := func(list []*querypb.Expr) bool {
		return slices.ContainsFunc(list, func(e *querypb.Expr) bool { return Names(e, fields...) })
	}
	switch k := e.GetKind().(type) {
	case *querypb.Expr_And:
		return in(k.And.GetList())
	case *querypb.Expr_Or:
		return in(k.Or.GetList())
	case *querypb.Expr_Not:
		return Names(k.Not, fields...)
	default:
		return slices.Contains(fields, e.GetCompare().GetField())
	}
}

func anyField(Field) bool { return true }

func single(f Field) bool { return f.Each == "" }

// Row returns SQL that reads the columns of the page for rows under a condition, for rpcs that return one row.
func (l List) Row(condition string) string {
	return "SELECT " + l.Columns + " FROM " + l.From + l.joins(nil, true) + " WHERE " + condition
}
