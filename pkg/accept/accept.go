// Package accept refuses requests that ask for what a service does not do. The protos say by rest.v1 "only" which values
// such a field may have; every other field is one that the service reads.
package accept

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	restpb "slipway.dev/proto/rest/v1"

	"slipway.dev/pkg/fault"
)

// Of returns the option of a field; nil for a field that the service reads.
func Of(fd protoreflect.FieldDescriptor) *restpb.Only {
	o, _ := proto.GetExtension(fd.Options(), restpb.E_Only).(*restpb.Only)
	return o
}

// Checker checks the messages of one type.
type Checker struct {
	fields []field
}

// field is a field with the option, or one whose messages have such fields.
type field struct {
	fd     protoreflect.FieldDescriptor
	only   *restpb.Only
	nested *Checker
}

// For returns the checker of a message type; nil if no field of the type needs a check.
func For(md protoreflect.MessageDescriptor) *Checker {
	return checkerOf(md, nil)
}

// checkerOf is For within the messages of path. It does not look into a message that contains itself.
func checkerOf(md protoreflect.MessageDescriptor, path []protoreflect.FullName) *Checker {
	if slices.Contains(path, md.FullName()) {
		return nil
	}
	path = append(path, md.FullName())
	c := &Checker{}
	for i := range md.Fields().Len() {
		f := field{fd: md.Fields().Get(i)}
		f.only = Of(f.fd)
		if f.only == nil && f.fd.Message() != nil && !f.fd.IsMap() {
			f.nested = checkerOf(f.fd.Message(), path)
		}
		if f.only != nil && !f.only.GetAny() || f.nested != nil {
			c.fields = append(c.fields, f)
		}
	}
	if len(c.fields) == 0 {
		return nil
	}
	return c
}

// Check returns a fault that names the first field of m whose value is not accepted. It accepts everything if c is nil.
func (c *Checker) Check(m proto.Message) error {
	if c == nil || m == nil {
		return nil
	}
	return c.message(m.ProtoReflect(), "")
}

func (c *Checker) message(m protoreflect.Message, path string) error {
	for _, f := range c.fields {
		if !m.Has(f.fd) {
			continue
		}
		err := f.value(m.Get(f.fd), join(path, string(f.fd.Name())))
		if err != nil {
			return err
		}
	}
	return nil
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// value checks the value of a field that is set.
func (f *field) value(v protoreflect.Value, path string) error {
	switch {
	case f.fd.IsMap():
		if v.Map().Len() > 0 {
			return f.refuse(path, "")
		}
		return nil
	case !f.fd.IsList():
		return f.single(v, path)
	}
	for i := range v.List().Len() {
		if err := f.single(v.List().Get(i), fmt.Sprintf("%s[%d]", path, i)); err != nil {
			return err
		}
	}
	return nil
}

// single checks one value, or one item of a list. An item asks for something even if it is empty.
func (f *field) single(v protoreflect.Value, path string) error {
	switch {
	case f.nested != nil:
		return f.nested.message(v.Message(), path)
	case f.fd.Message() == nil:
		text := v.String()
		if !f.fd.IsList() && zero(f.fd, v) || slices.Contains(f.only.GetValues(), text) {
			return nil
		}
		return f.refuse(path, text)
	}
	m := v.Message()
	if id := m.Descriptor().Fields().ByName(protoreflect.Name(f.only.GetKey())); id != nil {
		return f.refuse(join(path, string(id.Name())), m.Get(id).String())
	}
	empty := true
	m.Range(func(protoreflect.FieldDescriptor, protoreflect.Value) bool { empty = false; return false })
	if empty && !f.fd.IsList() {
		return nil
	}
	return f.refuse(path, "")
}

// zero reports whether a value is the one that its kind has without being set: a field with presence may be set to it.
func zero(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
	return v.Equal(fd.Default())
}

// refuse returns the fault of a value.
func (f *field) refuse(path, value string) error {
	o := f.only
	switch {
	case o.GetNoun() != "":
		return fault.Invalid.With("there is no %s %s", o.GetNoun(), fault.Clip(value)).On(path)
	case o.GetHint() != "":
		return fault.Invalid.With("%s", o.GetHint()).On(path)
	case len(o.GetValues()) > 0:
		list := make([]string, len(o.GetValues()))
		for i, x := range o.GetValues() {
			list[i] = strconv.Quote(x)
		}
		return fault.Invalid.With("not available here; accepted: %s", strings.Join(list, ", ")).On(path)
	default:
		return fault.Invalid.With("not available here: leave the field out").On(path)
	}
}
