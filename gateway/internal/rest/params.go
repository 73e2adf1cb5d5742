package rest

import (
	"net/url"
	"strings"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"golang.org/x/text/unicode/norm"
	"google.golang.org/protobuf/reflect/protoreflect"

	"slipway.dev/pkg/fault"
)

// parameters fills a request from the query of the URL: the parameters of a list into its query field, others into the scalar
// fields of their names. Parameters that the message does not know are ignored, as are those that the path fills.
func (c *call) parameters(values url.Values, in protoreflect.Message) (page Page, err error) {
	if len(values) == 0 {
		return page, nil
	}
	if c.query != nil || c.whole {
		if page, err = c.api.dialect.Page(values); err != nil {
			return page, err
		}
		if err := c.checkFields(page.Fields); err != nil {
			return page, err
		}
		if c.whole {
			err = c.checkWhole(values)
		} else if page.Query != nil {
			in.Set(c.query, protoreflect.ValueOfMessage(page.Query.ProtoReflect()))
		}
	}
	if err != nil {
		return page, err
	}
	fields := in.Descriptor().Fields()
	for name, list := range values {
		fd := fields.ByName(protoreflect.Name(name))
		if fd == nil && c.api.dialect.Codec.JSONNames {
			fd = fields.ByJSONName(name)
		}
		if fd == nil || fd.Message() != nil || fd.IsList() || len(list) == 0 || c.params[string(fd.Name())] != nil || Hidden(fd) {
			continue
		}
		if err := setScalar(in, fd, list[len(list)-1], ""); err != nil {
			return page, err
		}
	}
	return page, nil
}

// setScalar sets a field from text. where is appended to what was expected.
func setScalar(in protoreflect.Message, fd protoreflect.FieldDescriptor, text, where string) error {
	name := string(fd.Name())
	if fd.Kind() == protoreflect.StringKind {
		if !Secret(fd) {
			text = norm.NFC.String(text)
		}
		in.Set(fd, protoreflect.ValueOfString(text))
		return nil
	}
	if err := runtime.PopulateFieldFromPath(in.Interface(), name, text); err != nil {
		want := expected(fd)
		if where != "" && strings.HasPrefix(want, "a whole number") {
			want = "a whole number"
		}
		return fault.Invalid.With("expected %s%s", want, where).On(name)
	}
	return nil
}

// checkFields refuses fields that the items of a list do not have.
func (c *call) checkFields(names []string) error {
	for _, name := range names {
		if item := itemOf(c.RPC.Output()); item != nil && !c.api.dialect.Codec.hasField(item, name) {
			return fault.Invalid.With("unknown field %.40q; allowed: %s", name, c.api.dialect.Codec.fieldNames(item)).On("fields")
		}
	}
	return nil
}

func (c Codec) hasField(md protoreflect.MessageDescriptor, path string) bool {
	name, rest, deeper := strings.Cut(path, ".")
	var fd protoreflect.FieldDescriptor
	for i := range md.Fields().Len() {
		if f := md.Fields().Get(i); c.Name(f) == name && !Hidden(f) {
			fd = f
		}
	}
	switch {
	case fd == nil:
		return false
	case !deeper:
		return true
	default:
		return fd.Message() != nil && !fd.IsMap() && !isWrapper(fd.Message()) && c.hasField(fd.Message(), rest)
	}
}

func (c Codec) fieldNames(md protoreflect.MessageDescriptor) string {
	var names []string
	for i := range md.Fields().Len() {
		if f := md.Fields().Get(i); !Hidden(f) {
			names = append(names, c.Name(f))
		}
	}
	return strings.Join(names, ", ")
}

// listField is the field of an answer that makes it one of a list.
const listField = "list"

// itemOf returns what a list is a list of; nil for an answer that is no list.
func itemOf(answer protoreflect.MessageDescriptor) protoreflect.MessageDescriptor {
	fd := answer.Fields().ByName(listField)
	if fd == nil || !fd.IsList() {
		return nil
	}
	return fd.Message()
}
