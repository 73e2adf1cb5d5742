package vmmanager

import (
	"bytes"
	"context"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/query"

	"slipway.dev/gateway/internal/where"
)

// shape is how the answer of a list differs from its message, because the request asked for that.
type shape struct {
	fields  []string
	cursor  bool
	explain bool
	lines   *lines // an export
}

type shapeKey struct{}

// shapeOf is nil when the answer is the message as it is.
func shapeOf(v url.Values) *shape {
	s := &shape{fields: where.Fields(v), explain: where.Explain(v)}
	_, s.cursor = v[where.ParamCursor]
	if len(s.fields) == 0 && !s.cursor && !s.explain {
		return nil
	}
	return s
}

// shaped is an answer with its shape.
type shaped struct {
	shape
	msg           proto.Message
	next, explain string
}

// reshape gives the answers of lists their shape.
func reshape(ctx context.Context, msg proto.Message) (any, error) {
	s, ok := ctx.Value(shapeKey{}).(*shape)
	if !ok || itemOf(msg.ProtoReflect().Descriptor()) == nil {
		return msg, nil
	}
	out := &shaped{shape: *s, msg: msg}
	if md, ok := runtime.ServerMetadataFromContext(ctx); ok {
		out.next = strings.Join(md.TrailerMD.Get(query.NextKey), "")
		out.explain = strings.Join(md.TrailerMD.Get(query.ExplainKey), "")
	}
	if s.lines != nil {
		s.lines.next = out.next
	}
	return out, nil
}

// listField is the field of an answer that makes it one of a list.
const listField = "list"

// itemOf is what a list is a list of; nil for what is none.
func itemOf(answer protoreflect.MessageDescriptor) protoreflect.MessageDescriptor {
	fd := answer.Fields().ByName(listField)
	if fd == nil || !fd.IsList() {
		return nil
	}
	return fd.Message()
}

// items finds the items of a list by its request.
var items = sync.OnceValue(func() map[protoreflect.FullName]protoreflect.MessageDescriptor {
	all := map[protoreflect.FullName]protoreflect.MessageDescriptor{}
	for _, r := range Routes() {
		all[r.RPC.Input().FullName()] = itemOf(r.RPC.Output())
	}
	return all
})

// checkFields refuses fields that the items of a list do not have.
func checkFields(request protoreflect.MessageDescriptor, names []string) *fault.Fault {
	item := items()[request.FullName()]
	for _, name := range names {
		if item != nil && !hasField(item, name) {
			return fault.Invalid.With("unknown field %.40q; allowed: %s", name, fieldNames(item)).On(where.ParamFields)
		}
	}
	return nil
}

func hasField(md protoreflect.MessageDescriptor, path string) bool {
	name, rest, deeper := strings.Cut(path, ".")
	fd := md.Fields().ByName(protoreflect.Name(name))
	switch {
	case fd == nil:
		return false
	case !deeper:
		return true
	default:
		return fd.Message() != nil && !isWrapper(fd.Message()) && hasField(fd.Message(), rest)
	}
}

func fieldNames(md protoreflect.MessageDescriptor) string {
	names := make([]string, md.Fields().Len())
	for i := range names {
		names[i] = string(md.Fields().Get(i).Name())
	}
	return strings.Join(names, ", ")
}

func (s *shaped) encode() ([]byte, error) {
	if s.shape.explain {
		text := bytes.ReplaceAll([]byte(s.explain), []byte(`"error"`), []byte(`"\u0065rror"`))
		return slices.Concat([]byte(`{"explain":`), text, []byte("}")), nil
	}
	p := planOf(s.msg.ProtoReflect().Descriptor(), reflect.TypeOf(s.msg))
	if !p.ok {
		return slowly(s.msg)
	}
	if len(s.fields) > 0 {
		p = p.with(listField, func(item *plan) *plan { return item.only(s.fields) })
	}
	v := reflect.ValueOf(s.msg).Elem()
	if s.lines != nil {
		return p.lines(v), nil
	}
	b := p.message(nil, v)
	if !s.cursor {
		return b, nil
	}
	b = append(b[:len(b)-1], `,"next":`...)
	if s.next == "" {
		return append(b, "null}"...), nil
	}
	return append(appendString(b, s.next), '}'), nil
}

// lines writes the items of a list, each with an end of line.
func (p *plan) lines(v reflect.Value) (b []byte) {
	for i := range p.fields {
		if f := &p.fields[i]; f.name == listField {
			for list, j := v.Field(f.index), 0; j < list.Len(); j++ {
				b = append(f.single(b, list.Index(j)), '\n')
			}
		}
	}
	return b
}

// with is the plan with another one for a field.
func (p *plan) with(name string, change func(*plan) *plan) *plan {
	out := *p
	out.fields = slices.Clone(p.fields)
	for i := range out.fields {
		if f := &out.fields[i]; f.name == name && f.message != nil {
			f.message = change(f.message)
		}
	}
	return &out
}

// only is the plan without the fields that are not wanted. "a.b" wants b of a.
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
