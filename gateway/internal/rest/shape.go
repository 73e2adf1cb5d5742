package rest

import (
	"bytes"
	"reflect"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
)

// shape is how the answer of a list differs from its message at the client's request.
type shape struct {
	Page
	next, explain string // from the service
}

// answer appends msg in the shape s.
func (p *plan) answer(b []byte, msg proto.Message, s shape) []byte {
	if s.Explain {
		text := []byte(s.explain)
		if p.codec.HideError {
			text = bytes.ReplaceAll(text, []byte(`"error"`), []byte(`"\u0065rror"`))
		}
		return slices.Concat(b, []byte(`{"explain":`), text, []byte("}"))
	}
	if len(s.Fields) > 0 {
		p = p.with(listField, func(item *plan) *plan { return item.only(s.Fields) })
	}
	b = p.message(b, reflect.ValueOf(msg).Elem())
	if !s.Cursor {
		return b
	}
	b = append(b[:len(b)-1], `,"next":`...)
	if s.next == "" {
		return append(b, "null}"...)
	}
	return append(appendString(b, s.next), '}')
}

// lines returns the items of a list, each with an end of line.
func (p *plan) lines(msg proto.Message, fields []string) (b []byte) {
	if len(fields) > 0 {
		p = p.with(listField, func(item *plan) *plan { return item.only(fields) })
	}
	v := reflect.ValueOf(msg).Elem()
	for i := range p.fields {
		if f := &p.fields[i]; string(f.fd.Name()) == listField {
			for list, j := v.Field(f.index), 0; j < list.Len(); j++ {
				b = append(f.single(p.codec, b, list.Index(j)), '\n')
			}
		}
	}
	return b
}

// with returns a copy of the plan with another plan for a field.
func (p *plan) with(name string, change func(*plan) *plan) *plan {
	out := *p
	out.fields = slices.Clone(p.fields)
	for i := range out.fields {
		if f := &out.fields[i]; string(f.fd.Name()) == name && f.message != nil {
			f.message = change(f.message)
		}
	}
	return &out
}

// only returns a copy of the plan with only the given fields. "a.b" wants b of a.
func (p *plan) only(paths []string) *plan {
	out := *p
	out.fields = nil
	for _, f := range p.fields {
		var under []string
		for _, path := range paths {
			if rest, ok := strings.CutPrefix(path, f.name+"."); ok {
				under = append(under, rest)
			}
		}
		switch {
		case slices.Contains(paths, f.name):
			out.fields = append(out.fields, f)
		case len(under) > 0 && f.message != nil:
			f.message = f.message.only(under)
			out.fields = append(out.fields, f)
		}
	}
	return &out
}
