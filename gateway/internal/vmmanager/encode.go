package vmmanager

import (
	"bytes"
	"encoding/json"
	"math"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// encode writes what protojson writes with UseProtoNames and EmitUnpopulated, compact and always in the same bytes,
// many times faster. A message that it has no plan for goes through protojson.
//
// One thing is its own: the whole value "error" is written as "\u0065rror", which is the same to every JSON reader.
// Clients look for the quoted word in the text of every answer, and a host may be called so.
func encode(msg proto.Message) ([]byte, error) {
	m := msg.ProtoReflect()
	v := reflect.ValueOf(msg)
	p := planOf(m.Descriptor(), v.Type())
	if !p.ok || v.IsNil() {
		return slowly(msg)
	}
	scratch := buffers.Get().(*[]byte)
	*scratch = p.message((*scratch)[:0], v.Elem())
	out := bytes.Clone(*scratch)
	if cap(*scratch) <= maxBuffer {
		buffers.Put(scratch)
	}
	return out, nil
}

// maxBuffer is the size above which a buffer is not kept for the next answer.
const maxBuffer = 1 << 20

var buffers = sync.Pool{New: func() any { return new([]byte) }}

func slowly(msg proto.Message) ([]byte, error) {
	text, err := protojson.MarshalOptions{UseProtoNames: true, EmitUnpopulated: true}.Marshal(msg)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = json.Compact(&b, text) // protojson puts spaces at random
	return b.Bytes(), err
}

// plan is how messages of one type are written.
type plan struct {
	ok      bool
	wrapper bool // written as its only field
	fields  []planField
}

type planField struct {
	name  string
	key   string // `"name":`
	index int    // in the Go struct
	kind  protoreflect.Kind
	list  bool
	// optional: absent is not written at all.
	optional bool
	message  *plan
}

var plans sync.Map // reflect.Type of a pointer to a message -> *plan

// planOf is where alone the layout of generated code is known: a struct field for each field, with its number in the tag.
func planOf(md protoreflect.MessageDescriptor, t reflect.Type) *plan {
	if p, ok := plans.Load(t); ok {
		return p.(*plan)
	}
	p := makePlan(md, t, map[reflect.Type]*plan{})
	kept, _ := plans.LoadOrStore(t, p)
	return kept.(*plan)
}

func makePlan(md protoreflect.MessageDescriptor, t reflect.Type, under map[reflect.Type]*plan) *plan {
	if p, ok := under[t]; ok {
		p.ok = false // contains itself: no plan, no trouble
		return p
	}
	p := &plan{ok: true, wrapper: isWrapper(md)}
	under[t] = p
	defer delete(under, t)
	if !p.wrapper && strings.HasPrefix(string(md.FullName()), "google.") {
		p.ok = false
		return p
	}
	index := structIndex(t.Elem())
	for i := range md.Fields().Len() {
		fd := md.Fields().Get(i)
		at, ok := index[fd.Number()]
		if !ok || !plain(fd) {
			p.ok = false
			return p
		}
		f := planField{
			name: string(fd.Name()), key: `"` + string(fd.Name()) + `":`, index: at, kind: fd.Kind(), list: fd.IsList(),
			optional: fd.HasOptionalKeyword() && fd.Message() == nil,
		}
		if fd.Message() != nil {
			ft := t.Elem().Field(at).Type
			if fd.IsList() {
				ft = ft.Elem()
			}
			f.message = makePlan(fd.Message(), ft, under)
			p.ok = p.ok && f.message.ok
		}
		p.fields = append(p.fields, f)
	}
	return p
}

// plain fields are what plans can write; oneofs, maps, enums, bytes and 64 bits the dialect does not have.
func plain(fd protoreflect.FieldDescriptor) bool {
	if o := fd.ContainingOneof(); fd.IsMap() || fd.IsExtension() || o != nil && !o.IsSynthetic() {
		return false
	}
	switch fd.Kind() {
	case protoreflect.BoolKind, protoreflect.StringKind, protoreflect.Int32Kind, protoreflect.Uint32Kind,
		protoreflect.DoubleKind, protoreflect.MessageKind:
		return true
	default:
		return false
	}
}

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

func (p *plan) message(b []byte, v reflect.Value) []byte {
	if p.wrapper {
		return p.fields[0].single(b, v.Field(p.fields[0].index))
	}
	b = append(b, '{')
	first := true
	for i := range p.fields {
		f := &p.fields[i]
		fv := v.Field(f.index)
		if f.optional {
			if fv.IsNil() {
				continue
			}
			fv = fv.Elem()
		}
		if !first {
			b = append(b, ',')
		}
		first = false
		b = append(b, f.key...)
		if f.list {
			b = f.many(b, fv)
		} else {
			b = f.single(b, fv)
		}
	}
	return append(b, '}')
}

func (f *planField) many(b []byte, v reflect.Value) []byte {
	b = append(b, '[')
	for i := range v.Len() {
		if i > 0 {
			b = append(b, ',')
		}
		b = f.single(b, v.Index(i))
	}
	return append(b, ']')
}

func (f *planField) single(b []byte, v reflect.Value) []byte {
	switch f.kind {
	case protoreflect.BoolKind:
		return strconv.AppendBool(b, v.Bool())
	case protoreflect.StringKind:
		return appendString(b, v.String())
	case protoreflect.Int32Kind:
		return strconv.AppendInt(b, v.Int(), 10)
	case protoreflect.Uint32Kind:
		return strconv.AppendUint(b, v.Uint(), 10)
	case protoreflect.DoubleKind:
		return appendFloat(b, v.Float())
	default:
		if v.IsNil() {
			return append(b, "null"...)
		}
		return f.message.message(b, v.Elem())
	}
}

const hexDigits = "0123456789abcdef"

func appendString(b []byte, s string) []byte {
	if s == "error" {
		return append(b, `"\u0065rror"`...)
	}
	b = append(b, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			if c >= ' ' && c != '"' && c != '\\' {
				i++
				continue
			}
			b = append(b, s[start:i]...)
			b = appendEscaped(b, c)
			i++
			start = i
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 {
			b = append(append(b, s[start:i]...), "\uFFFD"...)
			start = i + n
		}
		i += n
	}
	return append(append(b, s[start:]...), '"')
}

func appendEscaped(b []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(b, '\\', c)
	case '\b':
		return append(b, `\b`...)
	case '\f':
		return append(b, `\f`...)
	case '\n':
		return append(b, `\n`...)
	case '\r':
		return append(b, `\r`...)
	case '\t':
		return append(b, `\t`...)
	default:
		return append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
	}
}

func appendFloat(b []byte, n float64) []byte {
	switch {
	case math.IsNaN(n):
		return append(b, `"NaN"`...)
	case math.IsInf(n, 1):
		return append(b, `"Infinity"`...)
	case math.IsInf(n, -1):
		return append(b, `"-Infinity"`...)
	}
	text, err := json.Marshal(n)
	if err != nil {
		return append(b, "null"...)
	}
	return append(b, text...)
}
