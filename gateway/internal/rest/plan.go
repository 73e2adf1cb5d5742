package rest

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// plan is the precomputed way to write messages of one type.
type plan struct {
	codec  Codec
	form   form
	fields []planField
}

type form int

const (
	formObject    form = iota
	formWrapper        // written as its only field
	formWellKnown      // written by protojson: times, durations, structs
)

type planField struct {
	fd    protoreflect.FieldDescriptor
	name  string
	key   string // `"name":`
	index int    // in the Go struct
	kind  protoreflect.Kind
	list  bool
	long  bool // a number of 64 bits
	// optional: absent is not written at all.
	optional bool
	// rare: a map or a member of a oneof, which have no struct field of their own type.
	rare    bool
	message *plan
}

// newPlan returns the plan for messages of the struct type that t points to. It fails for fields that the kit cannot
// write.
func newPlan(codec Codec, md protoreflect.MessageDescriptor, t reflect.Type) (*plan, error) {
	return makePlan(codec, md, t, map[reflect.Type]*plan{})
}

func makePlan(codec Codec, md protoreflect.MessageDescriptor, t reflect.Type, known map[reflect.Type]*plan) (*plan, error) {
	if p, ok := known[t]; ok {
		return p, nil // also a message that contains itself
	}
	p := &plan{codec: codec}
	known[t] = p
	switch {
	case isWrapper(md):
		p.form = formWrapper
	case strings.HasPrefix(string(md.FullName()), "google.protobuf."):
		p.form = formWellKnown
		return p, nil
	}
	index := structIndex(t.Elem())
	for i := range md.Fields().Len() {
		fd := md.Fields().Get(i)
		if Hidden(fd) {
			continue
		}
		f, err := makeField(codec, fd, t, index, known)
		if err != nil {
			return nil, err
		}
		p.fields = append(p.fields, f)
	}
	return p, nil
}

func makeField(
	codec Codec, fd protoreflect.FieldDescriptor, t reflect.Type, index map[protoreflect.FieldNumber]int, known map[reflect.Type]*plan,
) (f planField, err error) {
	o := fd.ContainingOneof()
	value := fd // of which the kind is
	f = planField{fd: fd, name: codec.Name(fd), list: fd.IsList(), rare: fd.IsMap() || o != nil && !o.IsSynthetic()}
	f.key = strconv.Quote(f.name) + ":"
	if fd.IsMap() {
		value = fd.MapValue()
		f.fd = fd
	}
	f.kind, f.long = value.Kind(), is64(value)
	f.optional = fd.HasOptionalKeyword() && fd.Message() == nil
	at, ok := index[fd.Number()]
	if !ok && !f.rare || f.kind == protoreflect.GroupKind {
		return f, fmt.Errorf("the field %s cannot be written", fd.FullName())
	}
	f.index = at
	if value.Message() == nil {
		return f, nil
	}
	mt := reflect.TypeOf(messageType(t, fd))
	f.message, err = makePlan(codec, value.Message(), mt, known)
	return f, err
}

// messageType returns a message of the Go type that a field of the struct type that t points to holds.
func messageType(t reflect.Type, fd protoreflect.FieldDescriptor) any {
	m := reflect.New(t.Elem()).Interface().(protoreflect.ProtoMessage).ProtoReflect()
	switch {
	case fd.IsMap():
		return m.NewField(fd).Map().NewValue().Message().Interface()
	case fd.IsList():
		return m.NewField(fd).List().NewElement().Message().Interface()
	default:
		return m.NewField(fd).Message().Interface()
	}
}

// brief returns a copy of the plan that writes the ids alone of the messages in these fields.
func (p *plan) brief(names []string) (*plan, error) {
	out := p
	for _, name := range names {
		found := false
		out = out.with(name, func(m *plan) *plan {
			for _, f := range m.fields {
				if f.name == idField && f.message == nil && !f.list {
					found = true
					return &plan{codec: m.codec, form: formWrapper, fields: []planField{f}}
				}
			}
			return m
		})
		if !found {
			return nil, fmt.Errorf("%s is no message with an id", name)
		}
	}
	return out, nil
}

// idField is the field of a message that names an object.
const idField = "id"

func is64(fd protoreflect.FieldDescriptor) bool {
	switch fd.Kind() {
	case protoreflect.Int64Kind, protoreflect.Uint64Kind, protoreflect.Sint64Kind, protoreflect.Fixed64Kind, protoreflect.Sfixed64Kind:
		return true
	default:
		return false
	}
}

// structIndex is the only function that relies on the layout of generated code: a struct field for each field, with
// its number in the tag.
func structIndex(t reflect.Type) map[protoreflect.FieldNumber]int {
	index := map[protoreflect.FieldNumber]int{}
	for i := range t.NumField() {
		parts := strings.Split(t.Field(i).Tag.Get("protobuf"), ",")
		if len(parts) < 2 {
			continue
		}
		if n, err := strconv.ParseInt(parts[1], 10, 32); err == nil {
			index[protoreflect.FieldNumber(n)] = i
		}
	}
	return index
}
