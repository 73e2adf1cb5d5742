package rest

import (
	"bytes"
	"math"
	"reflect"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
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
	b = p.narrow(s.Fields).message(b, reflect.ValueOf(msg).Elem())
	if !s.Cursor {
		return b
	}
	return withNext(b, s.next)
}

// withNext adds the cursor of the next page to an answer; "" after the last page.
func withNext(b []byte, next string) []byte {
	b = append(b[:len(b)-1], `,"next":`...)
	if next == "" {
		return append(b, "null}"...)
	}
	return append(appendString(b, next), '}')
}

// narrow returns the plan with only the given fields of the items of a list; none means all.
func (p *plan) narrow(fields []string) *plan {
	if len(fields) == 0 {
		return p
	}
	return p.with(listField, func(item *plan) *plan { return item.only(fields) })
}

// listAt returns where the plan has the items of a list; below 0 if the answer is no list.
func (p *plan) listAt() int {
	return slices.IndexFunc(p.fields, func(f planField) bool { return string(f.fd.Name()) == listField })
}

// items appends the items of a list, each between before and after.
func (p *plan) items(b []byte, msg proto.Message, before, after string) []byte {
	at := p.listAt()
	if at < 0 {
		return b
	}
	f := &p.fields[at]
	for list, i := reflect.ValueOf(msg).Elem().Field(f.index), 0; i < list.Len(); i++ {
		b = append(f.single(p.codec, append(b, before...), list.Index(i)), after...)
	}
	return b
}

// around returns what stands in an answer before the first item of its list, and what appends the rest after the last item.
func (p *plan) around(msg proto.Message) (before []byte, after func(b []byte, tail proto.Message) []byte) {
	at := p.listAt()
	front, back := *p, *p
	front.fields, back.fields = p.fields[:at+1], p.fields[at+1:]
	before = front.message(nil, reflect.ValueOf(withoutList(msg)).Elem())
	before = before[:len(before)-len("]}")]
	return before, func(b []byte, tail proto.Message) []byte {
		rest := back.message(nil, reflect.ValueOf(tail).Elem())
		if len(rest) == len("{}") {
			return append(b, "]}"...)
		}
		return append(append(b, "],"...), rest[1:]...)
	}
}

// withoutList returns a copy of an answer without the items of its list.
func withoutList(msg proto.Message) proto.Message {
	from := msg.ProtoReflect()
	to := from.New()
	from.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		if fd.Name() != listField {
			to.Set(fd, v)
		}
		return true
	})
	return to.Interface()
}

// count returns the number of items in the list of an answer.
func count(msg proto.Message) int {
	m := msg.ProtoReflect()
	fd := m.Descriptor().Fields().ByName(listField)
	if fd == nil || !fd.IsList() {
		return 0
	}
	return m.Get(fd).List().Len()
}

// setSize sets the number of all rows in the answer of a list.
func setSize(msg proto.Message, n int) {
	m := msg.ProtoReflect()
	if fd := m.Descriptor().Fields().ByName("size"); fd != nil && fd.Kind() == protoreflect.Int32Kind {
		m.Set(fd, protoreflect.ValueOfInt32(int32(min(n, math.MaxInt32)))) //nolint:gosec // bounded
	}
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
