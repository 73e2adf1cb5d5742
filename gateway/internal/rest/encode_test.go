package rest

import (
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"slipway.dev/proto/all"
	auditpb "slipway.dev/proto/audit/v1"
	authpb "slipway.dev/proto/auth/v4"
	nodepb "slipway.dev/proto/node/v1"
	querypb "slipway.dev/proto/query/v1"
	vmpb "slipway.dev/proto/vm/v3"
)

// TestEncodeAsProtojson compares both writers on every answer of all services, with random contents.
func TestEncodeAsProtojson(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(1, 2))
	seen := map[protoreflect.FullName]bool{}
	for _, r := range Routes("ispsystem", all.Files()) {
		name := r.RPC.Output().FullName()
		if seen[name] || name == bodyMessage {
			continue
		}
		seen[name] = true
		mt, err := protoregistry.GlobalTypes.FindMessageByName(name)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 50 {
			m := mt.New()
			if i > 0 {
				fill(rnd, m, 0)
			}
			same(t, m.Interface())
		}
	}
	if len(seen) < 20 {
		t.Errorf("only %d answers", len(seen))
	}
	// Requests have what answers have not: absent fields, oneofs, messages that contain themselves. Descriptors have the rest.
	for range 50 {
		for _, m := range []proto.Message{&vmpb.CreateHostRequest{}, &querypb.Query{}, &auditpb.Record{}, &authpb.CreateKeystoneTokenRequest{}, &nodepb.Machine{}, &errdetails.ErrorInfo{}} {
			fill(rnd, m.ProtoReflect(), 0)
			same(t, m)
		}
	}
}

func same(t *testing.T, m proto.Message) {
	t.Helper()
	if got, want := encodeWith(t, Codec{HideError: true, Text64: true}, m), slowly(nil, m); string(got) != string(want) {
		t.Errorf("%s:\n got %s\nwant %s", m.ProtoReflect().Descriptor().FullName(), got, want)
	}
}

var texts = []string{"", "plain", `quote " and \`, "tab\tline\nreturn\r\b\f", "\x00\x01\x1f\x7f", "ü 漢 😀 \u2028 <&>", "errors"}

func fill(rnd *rand.Rand, m protoreflect.Message, depth int) {
	fields := m.Descriptor().Fields()
	if strings.HasPrefix(string(m.Descriptor().FullName()), "google.protobuf.Timestamp") || depth > 4 {
		return
	}
	for i := range fields.Len() {
		fd := fields.Get(i)
		if rnd.IntN(4) == 0 {
			continue
		}
		switch {
		case fd.IsMap():
			entries := m.Mutable(fd).Map()
			for range rnd.IntN(4) {
				entries.Set(value(rnd, fd.MapKey(), nil, depth).MapKey(), value(rnd, fd.MapValue(), entries.NewValue, depth))
			}
		case fd.IsList():
			list := m.Mutable(fd).List()
			for range rnd.IntN(4) {
				list.Append(value(rnd, fd, list.NewElement, depth))
			}
		default:
			m.Set(fd, value(rnd, fd, func() protoreflect.Value { return m.NewField(fd) }, depth))
		}
	}
}

func value(rnd *rand.Rand, fd protoreflect.FieldDescriptor, fresh func() protoreflect.Value, depth int) protoreflect.Value {
	switch fd.Kind() {
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(rnd.IntN(2) == 0)
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(texts[rnd.IntN(len(texts))])
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes([]byte(texts[rnd.IntN(len(texts))]))
	case protoreflect.DoubleKind:
		return protoreflect.ValueOfFloat64([]float64{0, 1, 1.5, -2, 1e-9, 1e21, 123456789.25}[rnd.IntN(7)])
	case protoreflect.FloatKind:
		return protoreflect.ValueOfFloat32([]float32{0, 1, 1.5, -2, 1e-9, 0.1}[rnd.IntN(6)])
	case protoreflect.EnumKind:
		return protoreflect.ValueOfEnum(protoreflect.EnumNumber(rnd.Int32N(10)))
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		return protoreflect.ValueOfInt64(rnd.Int64() - 1<<62)
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return protoreflect.ValueOfUint64(rnd.Uint64())
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		return protoreflect.ValueOfUint32(rnd.Uint32())
	case protoreflect.MessageKind:
		v := fresh()
		fill(rnd, v.Message(), depth+1)
		return v
	default:
		return protoreflect.ValueOfInt32(int32(rnd.Uint32()))
	}
}

func TestEncodeOddText(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"error":      `"\u0065rror"`,
		`an "error"`: `"an \"error\""`,
		"a\xffb":     `"a` + "\uFFFD" + `b"`,
		"\xc3":       `"` + "\uFFFD" + `"`,
	} {
		if got := string(hiding.text(nil, text)); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}

func BenchmarkEncode(b *testing.B) {
	list := &vmpb.ListHostsResponse{Size: 50}
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		h := &vmpb.Host{}
		fill(rnd, h.ProtoReflect(), 0)
		list.List = append(list.List, h)
	}
	p, err := newPlan(Codec{}, list.ProtoReflect().Descriptor(), reflect.TypeOf(list))
	if err != nil {
		b.Fatal(err)
	}
	for name, f := range map[string]func(){
		"plan": func() { p.answer(nil, list, shape{}) }, "protojson": func() { slowly(nil, list) },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				f()
			}
		})
	}
}
