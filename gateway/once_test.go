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
)

func TestIdempotencyKeyGoesOn(t *testing.T) {
	t.Parallel()
	var got []string
	called := false
	h := recorded(t, func(_ string, md metadata.MD) { got, called = md.Get(rpc.OnceKey), true })
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

var secretField = regexp.MustCompile(`(?i)(token|secret|password|session|private|^key$)`)

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
			for name := range fieldNames(r.RPC.Output()) {
				if secretField.MatchString(name) {
					t.Errorf("%s keeps an answer with %s in it", r.RPC.FullName(), name)
				}
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

func fieldNames(md protoreflect.MessageDescriptor) map[string]bool {
	names := map[string]bool{}
	for i := range md.Fields().Len() {
		fd := md.Fields().Get(i)
		names[string(fd.Name())] = true
		if sub := fd.Message(); sub != nil && sub != md {
			for n := range fieldNames(sub) {
				names[n] = true
			}
		}
	}
	return names
}
