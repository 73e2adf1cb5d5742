// Package wire compares answers over HTTP with a table of what clients of the VMmanager dialect decode.
package wire

import (
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
)

//go:embed answers.txt
var answers string

// Table says what the answers of routes look like.
type Table struct {
	routes []route
	shapes map[string]*shape
}

// route is a route of the table: the segments of its path, of which {…} stands for any.
type route struct {
	name   string
	method string
	path   []string
	shape  *shape
}

// Answers returns the table of this package.
func Answers() (*Table, error) { return parse(answers) }

// Routes lists the routes of the table, such as "GET /vm/v3/host/{id}".
func (t *Table) Routes() []string {
	var names []string
	for _, r := range t.routes {
		names = append(names, r.name)
	}
	return names
}

// Route returns the route of a request, "" if the table has none. The path may have a query and the prefix /api.
func (t *Table) Route(method, path string) string {
	r := t.find(method, path)
	if r == nil {
		return ""
	}
	return r.name
}

// find returns the route of a request: of those that fit, the one with the fewest variables.
func (t *Table) find(method, path string) (best *route) {
	path, _, _ = strings.Cut(path, "?")
	segments := strings.Split(strings.Trim(strings.TrimPrefix(path, "/api"), "/"), "/")
	least := math.MaxInt
	for i := range t.routes {
		r := &t.routes[i]
		if r.method != method || len(r.path) != len(segments) {
			continue
		}
		variables, fits := 0, true
		for j, s := range r.path {
			if strings.HasPrefix(s, "{") {
				variables++
			} else if s != segments[j] {
				fits = false
			}
		}
		if fits && variables < least {
			best, least = r, variables
		}
	}
	return best
}

// Check compares the answer of a request with the table. It returns an error that names each wrong field.
func (t *Table) Check(method, path string, body []byte) error {
	r := t.find(method, path)
	if r == nil {
		return fmt.Errorf("%s %s is no route of the table", method, path)
	}
	if r.shape.kind == kindText {
		return nil
	}
	var v any
	d := json.NewDecoder(strings.NewReader(string(body)))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		return fmt.Errorf("%s: no JSON: %w", r.name, err)
	}
	var wrong []error
	t.check(r.shape, v, "", func(format string, args ...any) {
		wrong = append(wrong, fmt.Errorf(r.name+": "+format, args...))
	})
	return errors.Join(wrong...)
}

// check reports where a value differs from a shape. at is the place of the value in the answer.
func (t *Table) check(s *shape, v any, at string, wrong func(string, ...any)) {
	good := true
	switch x := v.(type) {
	case json.Number:
		_, err := x.Int64()
		good = s.kind == kindNum || s.kind == kindInt && err == nil && !strings.ContainsAny(x.String(), ".eE")
	case string:
		good = s.kind == kindString
	case bool:
		good = s.kind == kindBool
	case []any:
		if good = s.kind == kindList; good {
			for i, item := range x {
				t.check(s.item, item, fmt.Sprintf("%s[%d]", at, i), wrong)
			}
		}
	case map[string]any:
		if object := t.object(s); object != nil {
			t.fields(object, x, at, wrong)
			return
		}
		good = false
	case nil:
		good = false
	}
	if !good {
		wrong("%s is %s, want %s", strings.TrimPrefix(at, "."), kindOf(v), t.describe(s))
	}
}

// fields is check for the fields of an object.
func (t *Table) fields(s *shape, o map[string]any, at string, wrong func(string, ...any)) {
	for _, name := range slices.Sorted(maps.Keys(s.fields)) {
		f := s.fields[name]
		v, there := o[name]
		switch {
		case !there:
			wrong("%s.%s is absent", strings.TrimPrefix(at, "."), name)
		case v == nil && f.null:
		default:
			t.check(f.shape, v, at+"."+name, wrong)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(o)) {
		if _, known := s.fields[name]; !known {
			wrong("%s.%s is not in the table", strings.TrimPrefix(at, "."), name)
		}
	}
}

// object returns the shape of an object, which may be named; nil for another shape.
func (t *Table) object(s *shape) *shape {
	if s.kind == kindName {
		s = t.shapes[s.name]
	}
	if s.kind != kindObject {
		return nil
	}
	return s
}

func (t *Table) describe(s *shape) string {
	if s.kind == kindName {
		return "an object (" + s.name + ")"
	}
	return s.kind
}

func kindOf(v any) string {
	switch x := v.(type) {
	case nil:
		return "null"
	case json.Number:
		return "the number " + x.String()
	case string:
		return "text"
	case bool:
		return "true or false"
	case []any:
		return kindList
	default:
		return "an object"
	}
}
