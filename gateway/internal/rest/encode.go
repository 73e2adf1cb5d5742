package rest

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/json"
	"math"
	"reflect"
	"slices"
	"strconv"
	"sync"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// maxBuffer is the size above which a buffer is not kept for the next answer.
const maxBuffer = 1 << 20

var buffers = sync.Pool{New: func() any { return new([]byte) }}

// slowly appends the compact output of protojson with UseProtoNames and EmitUnpopulated. Plans write the same JSON
// many times faster, and always the same bytes.
func slowly(b []byte, msg proto.Message) []byte {
	text, err := protojson.MarshalOptions{UseProtoNames: true, EmitUnpopulated: true}.Marshal(msg)
	if err != nil {
		return append(b, "null"...) // a time out of range, or an Any of a type that the gateway does not know
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, text); err != nil {
		return append(b, "null"...)
	}
	return append(b, compact.Bytes()...)
}

// message appends a message. v is the struct.
func (p *plan) message(b []byte, v reflect.Value) []byte {
	switch p.form {
	case formWrapper:
		return p.fields[0].single(p.codec, b, v.Field(p.fields[0].index))
	case formWellKnown:
		return slowly(b, v.Addr().Interface().(proto.Message))
	}
	b = append(b, '{')
	first := true
	for i := range p.fields {
		f := &p.fields[i]
		if f.rare {
			b, first = p.rareField(b, f, v, first)
			continue
		}
		fv := v.Field(f.index)
		if f.optional {
			if fv.IsNil() {
				continue
			}
			if f.kind != protoreflect.BytesKind {
				fv = fv.Elem()
			}
		}
		if !first {
			b = append(b, ',')
		}
		first = false
		b = append(b, f.key...)
		if f.list {
			b = f.many(p.codec, b, fv)
		} else {
			b = f.single(p.codec, b, fv)
		}
	}
	return append(b, '}')
}

func (f *planField) many(c Codec, b []byte, v reflect.Value) []byte {
	b = append(b, '[')
	for i := range v.Len() {
		if i > 0 {
			b = append(b, ',')
		}
		b = f.single(c, b, v.Index(i))
	}
	return append(b, ']')
}

func (f *planField) single(c Codec, b []byte, v reflect.Value) []byte {
	switch f.kind {
	case protoreflect.BoolKind:
		return strconv.AppendBool(b, v.Bool())
	case protoreflect.StringKind:
		return c.text(b, v.String())
	case protoreflect.BytesKind:
		return appendBytes(b, v.Bytes())
	case protoreflect.EnumKind:
		return c.enum(b, f.fd, protoreflect.EnumNumber(v.Int())) //nolint:gosec // the numbers of enums have 32 bits
	case protoreflect.FloatKind:
		return appendFloat(b, v.Float(), 32)
	case protoreflect.DoubleKind:
		return appendFloat(b, v.Float(), 64)
	case protoreflect.MessageKind:
		if v.IsNil() {
			return append(b, "null"...)
		}
		return f.message.message(b, v.Elem())
	}
	quote := f.long && c.Text64
	if quote {
		b = append(b, '"')
	}
	if v.CanInt() {
		b = strconv.AppendInt(b, v.Int(), 10)
	} else {
		b = strconv.AppendUint(b, v.Uint(), 10)
	}
	if quote {
		b = append(b, '"')
	}
	return b
}

// enum appends the name of a value, or its number if it has no name.
func (c Codec) enum(b []byte, fd protoreflect.FieldDescriptor, n protoreflect.EnumNumber) []byte {
	if v := fd.Enum().Values().ByNumber(n); v != nil {
		return c.text(b, string(v.Name()))
	}
	return strconv.AppendInt(b, int64(n), 10)
}

func appendBytes(b, data []byte) []byte {
	b = append(b, '"')
	b = base64.StdEncoding.AppendEncode(b, data)
	return append(b, '"')
}

// rareField appends a map or a member of a oneof by reflection. It omits members that are not set.
func (p *plan) rareField(b []byte, f *planField, v reflect.Value, first bool) ([]byte, bool) {
	m := v.Addr().Interface().(proto.Message).ProtoReflect()
	if !f.fd.IsMap() && !m.Has(f.fd) {
		return b, first
	}
	if !first {
		b = append(b, ',')
	}
	b = append(b, f.key...)
	if !f.fd.IsMap() {
		return f.value(p.codec, b, m.Get(f.fd)), false
	}
	var keys []protoreflect.MapKey
	entries := m.Get(f.fd).Map()
	entries.Range(func(k protoreflect.MapKey, _ protoreflect.Value) bool {
		keys = append(keys, k)
		return true
	})
	slices.SortFunc(keys, compareKeys)
	b = append(b, '{')
	for i, k := range keys {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(appendString(b, k.String()), ':')
		b = f.value(p.codec, b, entries.Get(k))
	}
	return append(b, '}'), false
}

// value appends a value that reflection on a message returned.
func (f *planField) value(c Codec, b []byte, v protoreflect.Value) []byte {
	switch i := v.Interface().(type) {
	case protoreflect.Message:
		return f.message.message(b, reflect.ValueOf(i.Interface()).Elem())
	case protoreflect.EnumNumber:
		return f.single(c, b, reflect.ValueOf(int32(i)))
	default:
		return f.single(c, b, reflect.ValueOf(i))
	}
}

func compareKeys(a, b protoreflect.MapKey) int {
	switch x := a.Interface().(type) {
	case int32, int64:
		return cmp.Compare(a.Int(), b.Int())
	case uint32, uint64:
		return cmp.Compare(a.Uint(), b.Uint())
	case bool:
		if x == b.Bool() {
			return 0
		} else if x {
			return 1
		}
		return -1
	default:
		return cmp.Compare(a.String(), b.String())
	}
}

const hexDigits = "0123456789abcdef"

// text appends a string in the codec's spelling.
func (c Codec) text(b []byte, s string) []byte {
	if c.HideError && s == "error" {
		return append(b, `"\u0065rror"`...)
	}
	return appendString(b, s)
}

func appendString(b []byte, s string) []byte {
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

func appendFloat(b []byte, n float64, bits int) []byte {
	switch {
	case math.IsNaN(n):
		return append(b, `"NaN"`...)
	case math.IsInf(n, 1):
		return append(b, `"Infinity"`...)
	case math.IsInf(n, -1):
		return append(b, `"-Infinity"`...)
	}
	var text []byte
	var err error
	if bits == 32 {
		text, err = json.Marshal(float32(n))
	} else {
		text, err = json.Marshal(n)
	}
	if err != nil {
		return append(b, "null"...)
	}
	return append(b, text...)
}
