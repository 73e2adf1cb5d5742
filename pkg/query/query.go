// Package query runs the lists of a service: it compiles the filter, order and page of a request into SQL and reads the
// page and the number of all rows. What may be named is what the list declares; values become parameters; no text of a
// request ever becomes SQL text.
package query

import (
	"maps"
	"slices"
	"strings"

	"slipway.dev/pkg/fault"
)

// Type says how values of a field are read.
type Type int

// Types of fields. Mail is text in which a space stands for a + that the client did not encode: no address has a space.
const (
	Int Type = iota
	Text
	Bool
	Time
	IP
	Mail
)

// Field is something of a row that clients may filter and order by.
type Field struct {
	// SQL is the expression, written by us.
	SQL  string
	Type Type
	// Null: the expression may be null. Only "IS null", NE and NOT hold for a row without a value.
	Null bool
	// Needs is the join that SQL looks into, by its alias. The others are left out where only rows are counted.
	Needs string
	// Each makes the field a list, from which SQL reads one item: "host_address x WHERE x.host_id = h.id". A comparison
	// holds when it holds for one of the items, NE when EQ holds for none. Nothing can be ordered by it.
	Each string
	// Admin: the rows show the field only to those who see the rows of everybody. To others it does not exist.
	Admin bool
	// Alias maps other spellings of a value to the stored one, such as "fail" to "failed".
	Alias map[string]string
}

// Join brings in what belongs to a row. It never changes the number of rows: where something may be missing it is a
// LEFT JOIN.
type Join struct{ Alias, SQL string }

// Counter is a table that knows how many rows have which values. It has the columns of some fields, and n. It stands in
// for the list's table, under the same alias, where a query asks for those fields alone.
type Counter struct {
	Table  string
	Fields []string
}

// List declares a list, once, beside its table.
type List struct {
	// From is the table and its alias: "host h".
	From  string
	Joins []Join
	// Columns are what is read of each row.
	Columns string
	// Only is a condition on every row; empty for none. Counters know nothing of it.
	Only   string
	Fields map[string]Field
	// Key is the field that is unique in the list and ends every order; "id" when empty. Newest turns the order round
	// for requests that ask for none.
	Key    string
	Newest bool
	// Counters make the number of all rows cheap.
	Counters []Counter
	// LastNotify is an expression for the number of the last change.
	LastNotify string
	// Default and Max bound the page; 0 stands for what the reader allows.
	Default, Max int
}

// Scope is the caller's own condition on a list: it is part of the page and of the number alike. Parameters of the
// condition are $1 and so on. The zero Scope is every row.
type Scope struct {
	SQL  string
	Args []any
}

// limits of a filter, so that no request costs more than its share.
const (
	maxDepth    = 32
	maxCompares = 1000
	maxOrder    = 16
)

// ErrFilter refuses a filter, an order or a page. Source: the dialect's clients print the message of HTTP 400.
var ErrFilter = fault.Invalid

func (l List) key() string {
	if l.Key == "" {
		return "id"
	}
	return l.Key
}

// alias is the name under which expressions know the list's table.
func (l List) alias() string { return l.From[strings.LastIndexByte(l.From, ' ')+1:] }

// joins are those of the list that are wanted, or all.
func (l List) joins(wanted map[string]bool, all bool) string {
	var b strings.Builder
	for _, j := range l.Joins {
		if all || wanted[j.Alias] {
			b.WriteString(" " + j.SQL)
		}
	}
	return b.String()
}

// field finds what a caller may name.
func (l List) field(name string, admin bool) (Field, bool) {
	f, ok := l.Fields[name]
	return f, ok && (admin || !f.Admin)
}

// names lists what a caller may name, for messages.
func (l List) names(admin bool, ok func(Field) bool) string {
	var names []string
	for _, n := range slices.Sorted(maps.Keys(l.Fields)) {
		if f, known := l.field(n, admin); known && ok(f) {
			names = append(names, n)
		}
	}
	return strings.Join(names, ", ")
}

func anyField(Field) bool { return true }

func single(f Field) bool { return f.Each == "" }

// Row reads what the page shows of rows under a condition, for those that are asked for one by one.
func (l List) Row(condition string) string {
	return "SELECT " + l.Columns + " FROM " + l.From + l.joins(nil, true) + " WHERE " + condition
}
