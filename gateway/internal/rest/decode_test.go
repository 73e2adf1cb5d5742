package rest

import (
	"bytes"
	"cmp"
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/dynamicpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"slipway.dev/proto/all"
	authpb "slipway.dev/proto/auth/v4"
	ippb "slipway.dev/proto/ip/v3"
	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/pkg/fault"

	"slipway.dev/gateway/internal/edge"
)

func decode(text string, m proto.Message) error {
	return (Codec{}).decode([]byte(text), m, &edge.Request{})
}

// hiding is the codec of these tests, that of the ispsystem dialect.
var hiding = Codec{HideError: true}

func encode(t testing.TB, m proto.Message) []byte {
	t.Helper()
	return encodeWith(t, hiding, m)
}

func encodeWith(t testing.TB, c Codec, m proto.Message) []byte {
	t.Helper()
	p, err := newPlan(c, m.ProtoReflect().Descriptor(), reflect.TypeOf(m))
	if err != nil {
		t.Fatal(err)
	}
	return p.answer(nil, m, shape{})
}

func TestDecode(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]proto.Message{
		``:                                   &vmpb.CreateHostRequest{},
		"\r\n ":                              &vmpb.CreateHostRequest{},
		`null`:                               &vmpb.CreateHostRequest{},
		`[]`:                                 &vmpb.CreateHostRequest{},
		`{}`:                                 &vmpb.CreateHostRequest{},
		`{"name":"a","ram_mib":512}`:         &vmpb.CreateHostRequest{Name: "a", RamMib: proto.Int32(512)},
		`{"ram_mib":"512","os":1.0}`:         &vmpb.CreateHostRequest{RamMib: proto.Int32(512), Os: 1},
		`{"ramMib":5e2}`:                     &vmpb.CreateHostRequest{RamMib: proto.Int32(500)},
		`{"ipv4_pool":[1,"2"]}`:              &vmpb.CreateHostRequest{Ipv4Pool: []int32{1, 2}},
		`{"ip_addr":{},"disks":null}`:        &vmpb.CreateHostRequest{IpAddr: &vmpb.NewAddress{}},
		`{"disks":[{"size_mib":5}]}`:         &vmpb.CreateHostRequest{Disks: []*vmpb.NewDisk{{SizeMib: 5}}},
		`{"none":{"a":[1,{"b":[]}]}}`:        &vmpb.CreateHostRequest{},
		`{"comment":"\u00fc<\ud83d\ude00>"}`: &vmpb.CreateHostRequest{Comment: "ü<😀>"},
		`{"comment":"\ufffd\\ud83d\uD83D\uDE00"}`: &vmpb.CreateHostRequest{Comment: "\ufffd\\ud83d😀"},
	} {
		got := &vmpb.CreateHostRequest{}
		if err := decode(text, got); err != nil {
			t.Errorf("%s: %v", text, err)
		}
		if diff := gocmp.Diff(want, proto.Message(got), protocmp.Transform()); diff != "" {
			t.Errorf("%s: %s", text, diff)
		}
	}
	token := &authpb.CreateTokenRequest{}
	if err := decode(`{"expires_at":"2030-01-31 00:00:00"}`, token); err != nil ||
		token.GetExpiresAt().GetValue() != "2030-01-31 00:00:00" {
		t.Errorf("%v %v", token, err)
	}
}

func TestDecodeRefuses(t *testing.T) {
	t.Parallel()
	const whole = "expected a whole number of at most 2147483647"
	const half = `text with half a character, such as \ud83d alone`
	for text, want := range map[string]string{
		`{"ram_mib":"canary"}`:           "ram_mib: " + whole + ", found text",
		`{"ramMib":1.5}`:                 "ram_mib: " + whole + ", found a number",
		`{"os":2147483648}`:              "os: " + whole + ", found a number",
		`{"os":1e400}`:                   "os: " + whole + ", found a number",
		`{"os":true}`:                    "os: " + whole + ", found true",
		`{"os":"+5"}`:                    "os: " + whole + ", found text",
		`{"os":"05"}`:                    "os: " + whole + ", found text",
		`{"os":"0x5p0"}`:                 "os: " + whole + ", found text",
		`{"os":"1_0"}`:                   "os: " + whole + ", found text",
		`{"os":""}`:                      "os: " + whole + ", found text",
		`{"name":"\ud800"}`:              "name: " + half,
		`{"name":"\uFFFD\ud83d\u0041"}`:  "name: " + half,
		`{"name":"\\\"\\\\\udE00x"}`:     "name: " + half,
		`{"disks":[{"name":"\udfff"}]}`:  "disks[0].name: " + half,
		`{"ssh_keys":["\ud83d"]}`:        "ssh_keys: " + half,
		`{"x":{"y":["\ud83d"]}}`:         half,
		`{"\ud83d":1}`:                   half,
		`{"os":{}}`:                      "os: " + whole + ", found an object",
		`{"name":12}`:                    "name: expected text, found a number",
		`{"anti_spoofing":"yes"}`:        "anti_spoofing: expected true or false, found text",
		`{"anti_spoofing":1}`:            "anti_spoofing: expected true or false, found a number",
		`{"disks":{}}`:                   "disks: expected a list, found an object",
		`{"disks":[1]}`:                  "disks[0]: expected an object, found a number",
		`{"disks":[{},{"size_mib":[]}]}`: "disks[1].size_mib: " + whole + ", found a list",
		`{"ipv4_pool":[1,null]}`:         "ipv4_pool[1]: " + whole + ", found null",
		`{"ip_addr":[]}`:                 "ip_addr: expected an object, found a list",
		`{"name":"a","name":"b"}`:        "name: given more than once",
		`{"ram_mib":1,"ramMib":2}`:       "ram_mib: given more than once",
		`{"name":"a\u0000"}`:             "name: text with a zero byte",
		`{"ipv4_pool":[` + strings.Repeat("1,", 256) + `1]}`:    "ipv4_pool: at most 256 items",
		`{"disks":[` + strings.Repeat("{},", 256) + `{}]}`:      "disks: at most 256 items",
		`{"ssh_keys":[` + strings.Repeat(`"a",`, 999) + `"b"]}`: "ssh_keys: at most 256 items",
		`[1]`:                             "the body: expected a JSON object, found a list",
		`"canary"`:                        "the body: expected a JSON object, found text",
		`5`:                               "the body: expected a JSON object, found a number",
		`{`:                               "the body is not JSON: it ends too early",
		`{"name":`:                        "the body is not JSON: it ends too early",
		`{"name":"canary`:                 "the body is not JSON: it ends too early",
		`{"name" "a"}`:                    "the body is not JSON: error near byte 8",
		`{"name":canary}`:                 "the body is not JSON: error near byte 8",
		`name=a&password=canary`:          "the body is not JSON: error near byte 0",
		`{"name":"a"}x`:                   "unexpected data after the JSON body",
		`null null`:                       "unexpected data after the JSON body",
		"{\"name\":\"\xff\"}":             "the body is not UTF-8 text",
		strings.Repeat(`{"x":`, 40):       "the body is nested deeper than 32",
		`{"x":` + strings.Repeat(`[`, 40): "the body is nested deeper than 32",
	} {
		err := decode(text, &vmpb.CreateHostRequest{})
		if err == nil {
			t.Errorf("%s was taken", text)
			continue
		}
		f, _ := fault.From(err)
		if f.Text() != want || f.Reason != "INVALID_ARGUMENT" || strings.Contains(f.Text(), "canary") {
			t.Errorf("%s: %+v, want %s", text, f, want)
		}
		if field, _, ok := strings.Cut(want, ":"); ok && !strings.Contains(field, "the body") && f.Field != field {
			t.Errorf("%s: blames %q", text, f.Field)
		}
	}
}

// TestItemsAreBounded checks for every list of every request that has a body that a longer list is refused.
func TestItemsAreBounded(t *testing.T) {
	t.Parallel()
	seen := 0
	for _, r := range Routes("ispsystem", all.Files()) {
		fields := r.RPC.Input().Fields()
		for i := range fields.Len() {
			fd := fields.Get(i)
			if !r.Body || !fd.IsList() || Hidden(fd) {
				continue
			}
			seen++
			item := map[protoreflect.Kind]string{protoreflect.MessageKind: "{}", protoreflect.StringKind: `"a"`}[fd.Kind()]
			list := func(n int) string {
				return `{"` + string(fd.Name()) + `":[` + strings.TrimSuffix(strings.Repeat(cmp.Or(item, "1")+",", n), ",") + `]}`
			}
			m := dynamicpb.NewMessage(r.RPC.Input())
			if err := decode(list(itemsOf(fd)), m); err != nil {
				t.Errorf("%s: %v", fd.FullName(), err)
			}
			f, _ := fault.From(decode(list(itemsOf(fd)+1), m))
			if f == nil || f.Code != codes.InvalidArgument || f.Field != string(fd.Name()) {
				t.Errorf("%s: a list that is too long: %v", fd.FullName(), f)
			}
		}
	}
	if seen < 8 {
		t.Errorf("only %d lists were found", seen)
	}
}

// TestItemsCostNothing: the place of an item becomes text in an error only, so an item costs no more than one of an unknown field.
func TestItemsCostNothing(t *testing.T) {
	cost := func(field string) float64 {
		data := []byte(`{"` + field + `":[` + strings.Repeat("1,", 199) + `1]}`)
		return testing.AllocsPerRun(100, func() {
			ch := checker{dec: json.NewDecoder(bytes.NewReader(data))}
			ch.dec.UseNumber()
			if _, err := ch.body(data, (*vmpb.CreateHostRequest)(nil).ProtoReflect().Descriptor()); err != nil {
				t.Fatal(err)
			}
		})
	}
	if known, unknown := cost("ipv4_pool"), cost("nothing"); known > unknown+20 {
		t.Errorf("%.0f allocations for 200 items, and %.0f for as many that nothing reads", known, unknown)
	}
}

func TestIgnoredFieldsAreNoted(t *testing.T) {
	t.Parallel()
	q := &edge.Request{}
	text := `{"name":"a","cpu_mood":"x","disks":[{"shape":[1]}]` + strings.Repeat(`,"more":1`, 100) + `}`
	if err := (Codec{}).decode([]byte(text), &vmpb.CreateHostRequest{}, q); err != nil {
		t.Fatal(err)
	}
	if len(q.Ignored) != maxIgnored || q.Ignored[0] != `"cpu_mood"` || q.Ignored[1] != `"disks[0].shape"` {
		t.Errorf("%d: %v", len(q.Ignored), q.Ignored)
	}
}

// FuzzDecode: whatever comes is refused with a fault of the client's, or taken; what is taken, protojson took as well.
func FuzzDecode(f *testing.F) {
	for _, s := range []string{`{"name":"a","disks":[{"size_mib":"5"}]}`, `[]`, `{"x":[{}]}`, `{"ip_addr":null}`, `{"overselling":1e2}`, `{"os":"+5"}`, `{"name":"\ud800"}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m := &vmpb.CreateHostRequest{}
		if err := decode(string(data), m); err != nil {
			if f, ok := fault.From(err); !ok || f.Code != codes.InvalidArgument || f.Msg == errBody.Msg {
				t.Errorf("%q: %v", data, err)
			}
			return
		}
		if len(bytes.TrimSpace(data)) > 0 && !json.Valid(data) {
			t.Errorf("%q is no JSON and was taken", data)
		}
		text := encode(t, &vmpb.ListHostsResponse{List: []*vmpb.Host{{Name: m.GetName(), Comment: m.GetComment()}}})
		if !json.Valid(text) || bytes.Contains(text, []byte(`"error"`)) {
			t.Errorf("%q: %s", data, text)
		}
	})
}

func TestEncodeAbsentAndNull(t *testing.T) {
	t.Parallel()
	for want, m := range map[string]proto.Message{
		`{"id":0,"token":"","expires_at":null,"confirmed":false}`: &authpb.Token{},
		`{"id":0,"token":"","expires_at":"","confirmed":true}`:    &authpb.Token{ExpiresAt: wrapperspb.String(""), Confirmed: true},
		`{"id":0}`:               &ippb.UpdatePoolRequest{},
		`{"id":0,"name":"a"}`:    &ippb.UpdatePoolRequest{Name: proto.String("a")},
		`{"id":0,"clusters":[]}`: &vmpb.BindPoolRequest{},
		`{}`:                     &authpb.DeleteTokenResponse{},
	} {
		if got := encode(t, m); string(got) != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

// TestDecodeLoose: what PHP clients write for true, false and an empty object is read as that, and nothing else is.
func TestDecodeLoose(t *testing.T) {
	t.Parallel()
	loose := func(text string) (*vmpb.CreateHostRequest, error) {
		m := &vmpb.CreateHostRequest{}
		return m, Codec{Loose: true}.decode([]byte(text), m, &edge.Request{})
	}
	empty := &vmpb.NewAddress{}
	for text, want := range map[string]*vmpb.CreateHostRequest{
		`{"anti_spoofing":1,"name":"a"}`:              {AntiSpoofing: true, Name: "a"},
		`{"anti_spoofing" : "1" , "name":"a"}`:        {AntiSpoofing: true, Name: "a"},
		`{"anti_spoofing":"true","ipv6_enabled":1}`:   {AntiSpoofing: true, Ipv6Enabled: true},
		`{"anti_spoofing":"TRUE","ipv6_enabled":"0"}`: {AntiSpoofing: true},
		`{"anti_spoofing":0,"ipv6_enabled":"false"}`:  {},
		`{"anti_spoofing":false,"ipv6_enabled":true}`: {Ipv6Enabled: true},
		`{"ip_addr":[]}`:                             {IpAddr: empty},
		`{"ip_addr": [ ] ,"name":"b"}`:               {IpAddr: empty, Name: "b"},
		`{"disks":[[],{"size_mib":5}],"ip_addr":[]}`: {IpAddr: empty, Disks: []*vmpb.NewDisk{{}, {SizeMib: 5}}},
		"\uFEFF" + `{"name":"c","anti_spoofing":1}`:  {Name: "c", AntiSpoofing: true},
		"\uFEFF": {},
	} {
		got, err := loose(text)
		if diff := gocmp.Diff(want, got, protocmp.Transform()); err != nil || diff != "" {
			t.Errorf("%s: %v %s", text, err, diff)
		}
	}
	for _, text := range []string{
		`{"anti_spoofing":2}`, `{"anti_spoofing":"yes"}`, `{"anti_spoofing":""}`, `{"anti_spoofing":[]}`, `{"ip_addr":[1]}`,
		`{"ip_addr":[`, `{"name":1}`,
	} {
		if _, err := loose(text); err == nil {
			t.Errorf("%s is accepted", text)
		}
	}
	for _, text := range []string{`{"anti_spoofing":1}`, `{"ip_addr":[]}`} {
		if err := decode(text, &vmpb.CreateHostRequest{}); err == nil {
			t.Errorf("%s is accepted by a codec that is not loose", text)
		}
	}
	if err := decode("\uFEFF{}", &vmpb.CreateHostRequest{}); err != nil {
		t.Error(err)
	}
}
