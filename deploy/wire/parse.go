package wire

import (
	"fmt"
	"strings"
)

// The kinds of shapes, as messages call them.
const (
	kindInt    = "a whole number"
	kindNum    = "a number"
	kindBool   = "true or false"
	kindString = "text"
	kindText   = "no JSON"
	kindList   = "a list"
	kindObject = "an object"
	kindName   = "a named shape"
)

var simple = map[string]string{"int": kindInt, "num": kindNum, "bool": kindBool, "string": kindString, "text": kindText}

// shape is what a value looks like.
type shape struct {
	kind   string
	name   string           // of a named shape
	item   *shape           // of a list
	fields map[string]field // of an object
}

// field is a field of an object.
type field struct {
	shape *shape
	null  bool
}

// parse reads a table in the form that answers.txt describes.
func parse(text string) (*Table, error) {
	t := &Table{shapes: map[string]*shape{}}
	var lines []string
	for line := range strings.SplitSeq(text, "\n") {
		switch {
		case strings.HasPrefix(line, "#"), strings.TrimSpace(line) == "":
		case strings.HasPrefix(line, " ") && len(lines) > 0:
			lines[len(lines)-1] += " " + strings.TrimSpace(line)
		default:
			lines = append(lines, line)
		}
	}
	for _, line := range lines {
		if err := t.line(line); err != nil {
			return nil, fmt.Errorf("%.60q: %w", line, err)
		}
	}
	for name, s := range t.shapes {
		if err := t.known(s); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	for _, r := range t.routes {
		if err := t.known(r.shape); err != nil {
			return nil, fmt.Errorf("%s: %w", r.name, err)
		}
	}
	return t, nil
}

func (t *Table) line(line string) error {
	left, right, ok := strings.Cut(line, " = ")
	if !ok {
		return fmt.Errorf("there is no =")
	}
	p := &reader{rest: right}
	s := p.shape()
	if p.skip(); p.failed || p.rest != "" {
		return fmt.Errorf("no shape at %.40q", p.rest)
	}
	method, path, isRoute := strings.Cut(left, " ")
	if !isRoute {
		t.shapes[left] = s
		return nil
	}
	t.routes = append(t.routes, route{left, method, strings.Split(strings.Trim(path, "/"), "/"), s})
	return nil
}

// known returns an error if a shape names another one that the table does not have.
func (t *Table) known(s *shape) error {
	switch s.kind {
	case kindName:
		if t.shapes[s.name] == nil {
			return fmt.Errorf("no shape %s", s.name)
		}
	case kindList:
		return t.known(s.item)
	case kindObject:
		for _, f := range s.fields {
			if err := t.known(f.shape); err != nil {
				return err
			}
		}
	}
	return nil
}

// reader reads shapes from the front of a text.
type reader struct {
	rest   string
	failed bool
}

func (p *reader) skip() { p.rest = strings.TrimLeft(p.rest, " ") }

// take reports whether the text begins with a mark, and takes the mark.
func (p *reader) take(mark string) bool {
	p.skip()
	rest, ok := strings.CutPrefix(p.rest, mark)
	p.rest = rest
	return ok
}

// word takes the letters, digits and underscores at the front.
func (p *reader) word() string {
	p.skip()
	end := strings.IndexFunc(p.rest, func(r rune) bool {
		return r != '_' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	})
	if end < 0 {
		end = len(p.rest)
	}
	word := p.rest[:end]
	p.rest = p.rest[end:]
	p.failed = p.failed || word == ""
	return word
}

func (p *reader) shape() *shape {
	switch {
	case p.take("["):
		s := &shape{kind: kindList, item: p.shape()}
		p.failed = p.failed || !p.take("]")
		return s
	case p.take("{"):
		return p.object()
	}
	name := p.word()
	if kind := simple[name]; kind != "" {
		return &shape{kind: kind}
	}
	return &shape{kind: kindName, name: name}
}

// object reads the fields of an object whose bracket was taken.
func (p *reader) object() *shape {
	s := &shape{kind: kindObject, fields: map[string]field{}}
	for !p.take("}") {
		if p.failed {
			return s
		}
		name := p.word()
		f := field{null: p.take("?"), shape: &shape{kind: kindString}}
		if p.take(":") {
			f.shape = p.shape()
		}
		_, twice := s.fields[name]
		p.failed = p.failed || twice
		s.fields[name] = f
		p.take(",")
	}
	return s
}
