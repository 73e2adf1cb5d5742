package vmmanager

import (
	"math/rand/v2"
	"reflect"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	vmpb "slipway.dev/proto/vm/v3"
)

// TestEncodeAsProtojson compares both writers on every answer of the dialect, with random contents.
func TestEncodeAsProtojson(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(1, 2))
	seen := map[protoreflect.FullName]bool{}
	for _, r := range Routes() {
		name := r.RPC.Output().FullName()
		if seen[name] || name == "google.api.HttpBody" {
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
		if p := planOf(mt.Descriptor(), reflect.TypeOf(mt.New().Interface())); !p.ok {
			t.Errorf("%s has no plan: it is written slowly", name)
		}
	}
	if len(seen) < 20 {
		t.Errorf("only %d answers", len(seen))
	}
	// Requests have what answers have not: absent fields.
	for range 50 {
		m := &vmpb.CreateHostRequest{}
		fill(rnd, m.ProtoReflect(), 0)
		same(t, m)
	}
}

func same(t *testing.T, m proto.Message) {
	t.Helper()
	want, err := slowly(m)
	if err != nil {
		t.Fatal(err)
	}
	got, err := encode(m)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Errorf("%s:\n got %s\nwant %s", m.ProtoReflect().Descriptor().FullName(), got, want)
	}
}

var texts = []string{"", "plain", `quote " and \`, "tab\tline\nreturn\r\b\f", "\x00\x01\x1f\x7f", "ü 漢 😀 \u2028 <&>", "errors"}

func fill(rnd *rand.Rand, m protoreflect.Message, depth int) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		fd := fields.Get(i)
		if rnd.IntN(4) == 0 {
			continue
		}
		if !fd.IsList() {
			m.Set(fd, value(rnd, fd, func() protoreflect.Value { return m.NewField(fd) }, depth))
			continue
		}
		list := m.Mutable(fd).List()
		for range rnd.IntN(4) {
			list.Append(value(rnd, fd, list.NewElement, depth))
		}
	}
}

func value(rnd *rand.Rand, fd protoreflect.FieldDescriptor, fresh func() protoreflect.Value, depth int) protoreflect.Value {
	switch fd.Kind() {
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(rnd.IntN(2) == 0)
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(texts[rnd.IntN(len(texts))])
	case protoreflect.DoubleKind:
		return protoreflect.ValueOfFloat64([]float64{0, 1, 1.5, -2, 1e-9, 1e21, 123456789.25}[rnd.IntN(7)])
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
		if got := string(appendString(nil, text)); got != want {
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
	for name, f := range map[string]func(proto.Message) ([]byte, error){"plan": encode, "protojson": slowly} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := f(list); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
