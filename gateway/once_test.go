package gateway_test

import (
	"net/http"
	"regexp"
	"strings"
	"testing"

	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	accesspb "slipway.dev/proto/access/v1"

	"slipway.dev/pkg/rpc"

	"slipway.dev/gateway/internal/rest"
)

func TestIdempotencyKeyGoesOn(t *testing.T) {
	t.Parallel()
	var got []string
	called := false
	h := recorded(t, func(_ string, md metadata.MD) { got, called = md.Get(rpc.IdemKey), true })
	send := func(lines ...string) int {
		got, called = nil, false
		return send(t, h, append([]string{lines[0], "x-xsrf-token: any"}, lines[1:]...)...).Code
	}
	if code := send("POST /vm/v3/host", "Idempotency-Key: a key/1", "", "{}"); code != 200 || len(got) != 1 || got[0] != "a key/1" {
		t.Errorf("%d %q", code, got)
	}
	if code := send("GET /vm/v3/host", "Idempotency-Key: k"); code != 200 || got != nil {
		t.Errorf("with a GET: %d %q", code, got)
	}
	for _, bad := range []string{"Idempotency-Key:", "Idempotency-Key: " + strings.Repeat("x", 256), "Idempotency-Key: ключ", "Idempotency-Key: a\nIdempotency-Key: b"} {
		if code := send(append(append([]string{"POST /vm/v3/host"}, strings.Split(bad, "\n")...), "", "{}")...); code != http.StatusBadRequest || called {
			t.Errorf("%.40q: %d, called %v", bad, code, called)
		}
	}
}

// creates are the names of methods that make something new with every call.
var creates = regexp.MustCompile(`^(Create|Add|Import|Start|Stop|Restart|Clone|Rebuild|Reinstall)`)

// looksSecret are names of fields that must declare whether they are secret.
var looksSecret = regexp.MustCompile(`(?i)(token|secret|password|session$|private)`)

// TestEveryCreateSaysWhatARepeatDoes also sees to it that no secret is kept.
func TestEveryCreateSaysWhatARepeatDoes(t *testing.T) {
	t.Parallel()
	kept := 0
	for _, r := range routes() {
		a, _ := proto.GetExtension(r.RPC.Options(), accesspb.E_Access).(*accesspb.Access)
		public := a.GetLevel() == accesspb.Level_LEVEL_PUBLIC
		switch a.GetRepeat() {
		case accesspb.Repeat_REPEAT_ANSWERED:
			kept++
			if r.Method != http.MethodPost {
				t.Errorf("%s %s keeps its answer; the key comes with POST only", r.Method, r.Path)
			}
			if name := secretIn(r.RPC.Output()); name != "" {
				t.Errorf("%s keeps an answer with %s in it", r.RPC.FullName(), name)
			}
		case accesspb.Repeat_REPEAT_UNSPECIFIED:
			if r.Method == http.MethodPost && !public && !a.GetRead() && creates.MatchString(string(r.RPC.Name())) {
				t.Errorf("%s does not declare what a repeat does", r.RPC.FullName())
			}
		}
	}
	if kept < 10 {
		t.Errorf("only %d routes keep their answers", kept)
	}
}

// secretIn returns the name of a field of an answer that holds a secret; "" when none does.
func secretIn(md protoreflect.MessageDescriptor) protoreflect.FullName {
	for i := range md.Fields().Len() {
		fd := md.Fields().Get(i)
		if rest.Secret(fd) {
			return fd.FullName()
		}
		if sub := fd.Message(); sub != nil && sub != md {
			if name := secretIn(sub); name != "" {
				return name
			}
		}
	}
	return ""
}

// TestSecretsSayTheyAre: a text whose name looks like that of a secret declares that it is one.
func TestSecretsSayTheyAre(t *testing.T) {
	t.Parallel()
	found := 0
	eachField(func(owner protoreflect.MessageDescriptor, fd protoreflect.FieldDescriptor) {
		if fd.Kind() != protoreflect.StringKind || !looksSecret.MatchString(string(fd.Name())) {
			return
		}
		if found++; !rest.Secret(fd) {
			t.Errorf("%s.%s does not declare that it is secret", owner.FullName(), fd.Name())
		}
	})
	if found < 10 {
		t.Errorf("only %d secrets", found)
	}
}
