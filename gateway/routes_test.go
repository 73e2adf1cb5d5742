package gateway_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	accesspb "slipway.dev/proto/access/v1"
	"slipway.dev/proto/all"
	authpb "slipway.dev/proto/auth/v4"

	"slipway.dev/gateway"
	"slipway.dev/gateway/internal/rest"
)

// routes lists the routes of ordinary calls; what streams is a WebSocket, with tests of its own.
func routes() []rest.Route {
	return slices.DeleteFunc(rest.Routes("ispsystem", all.Files()), func(r rest.Route) bool { return r.RPC.IsStreamingClient() })
}

// recorded makes a gateway whose calls end in record.
func recorded(t *testing.T, record func(method string, md metadata.MD)) http.Handler {
	t.Helper()
	c := answering(record)
	gw, err := gateway.New(gateway.Config{Changes: -1}, gateway.Conns{"auth": c, "vm": c, "ip": c}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return gw.Handler()
}

// answering answers every call with nothing, after record.
func answering(record func(method string, md metadata.MD)) conn {
	return conn(func(ctx context.Context, method string, _, out any) error {
		if method == authpb.TokenService_Introspect_FullMethodName {
			proto.Merge(out.(proto.Message), &authpb.IntrospectResponse{Identity: "signed", AccountId: 3, SessionId: 1})
			return nil
		}
		md, _ := metadata.FromOutgoingContext(ctx)
		record(method, md)
		return nil
	})
}

var variable = regexp.MustCompile(`\{\w+\}`)

// TestRoutes walks every path that a proto declares: it leads to that very method, in both spellings.
func TestRoutes(t *testing.T) {
	t.Parallel()
	called := ""
	h := recorded(t, func(method string, _ metadata.MD) { called = method })
	list := routes()
	if len(list) < 60 {
		t.Fatalf("only %d routes", len(list))
	}
	for _, r := range list {
		want := fmt.Sprintf("/%s/%s", r.RPC.Parent().FullName(), r.RPC.Name())
		for _, prefix := range []string{"", "/api"} {
			line := r.Method + " " + prefix + variable.ReplaceAllString(r.Path, "7")
			called = ""
			rec := send(t, h, line, "x-xsrf-token: any")
			if called != want || rec.Code != r.Status() {
				t.Errorf("%s: %d, called %q, want %q", line, rec.Code, called, want)
			}
		}
		if accessOf(r.RPC).GetLevel() == accesspb.Level_LEVEL_SERVICE {
			t.Errorf("%s is for services and has a path", want)
		}
		if r.Method == http.MethodGet && !accessOf(r.RPC).GetRead() {
			t.Errorf("%s is a GET and does not say that it only reads", want)
		}
	}
}

// TestServiceMethodsHaveNoPath tries the paths that gRPC itself would use.
func TestServiceMethodsHaveNoPath(t *testing.T) {
	t.Parallel()
	h := recorded(t, func(method string, _ metadata.MD) { t.Errorf("%s was called", method) })
	tried := 0
	for _, f := range all.Files() {
		for i := range f.Services().Len() {
			methods := f.Services().Get(i).Methods()
			for j := range methods.Len() {
				m := methods.Get(j)
				path := fmt.Sprintf("/%s/%s", m.Parent().FullName(), m.Name())
				for _, line := range []string{"POST " + path, "GET /api" + path} {
					if rec := send(t, h, line, "x-xsrf-token: any", "Content-Type: application/grpc"); rec.Code != 404 {
						t.Errorf("%s: %d", line, rec.Code)
					}
				}
				tried++
			}
		}
	}
	if tried < 50 {
		t.Errorf("only %d methods", tried)
	}
}

// TestHeadersMeanNothing: what a client cannot say by its credential it cannot say at all (S05).
func TestHeadersMeanNothing(t *testing.T) {
	t.Parallel()
	var got metadata.MD
	calls := 0
	h := recorded(t, func(_ string, md metadata.MD) { got = md; calls++ })
	forged := []string{
		"Grpc-Metadata-Slipway-Identity: forged", "Grpc-Metadata-X-Request-Id: forged", "Slipway-Identity: forged",
		"Slipway-Client-Ip: 10.0.0.1", "Slipway-User-Agent: forged", "internal-auth: on", "isp-box-instance: true", "X-Forwarded-For: 10.0.0.1",
		"X-Forwarded-Host: evil.example.com", "Grpc-Timeout: 1n", "X-HTTP-Method-Override: DELETE", "TE: trailers",
		"Grpc-Metadata-Bad-Bin: ???", "Grpcgateway-Authorization: forged", "Forwarded: for=10.0.0.1", "Content-Type: ;;",
	}
	for _, who := range []string{"x-xsrf-token: any", "Accept: */*"} {
		lines := []string{"GET /vm/v3/node", "POST /vm/v3/account", "GET /auth/v4/user", "POST /vm/v3/host/1/start"}
		if !strings.HasPrefix(who, "x-xsrf") {
			lines = []string{"POST /auth/v4/public/token", "POST /auth/v4/public/key"} // the others are refused
		}
		for _, line := range lines {
			calls = 0
			send(t, h, append([]string{line, who}, forged...)...)
			want := map[string]string{"slipway-client-ip": "203.0.113.7", "x-request-id": ""}
			if strings.HasPrefix(who, "x-xsrf") {
				want["slipway-identity"] = "signed"
			}
			if calls != 1 || len(got) != len(want) {
				t.Errorf("%s: %d calls with %v", line, calls, got)
			}
			for k, v := range want {
				if len(got[k]) != 1 || v != "" && got[k][0] != v || strings.Contains(got[k][0], "forged") {
					t.Errorf("%s: %s is %v", line, k, got[k])
				}
			}
		}
	}
}

// TestNoNumbersOf64Bits: JSON writers of protobuf make strings of them, and clients want numbers.
func TestNoNumbersOf64Bits(t *testing.T) {
	t.Parallel()
	fields := 0
	eachField(func(owner protoreflect.MessageDescriptor, fd protoreflect.FieldDescriptor) {
		fields++
		switch fd.Kind() {
		case protoreflect.Int64Kind, protoreflect.Uint64Kind, protoreflect.Sint64Kind, protoreflect.Fixed64Kind, protoreflect.Sfixed64Kind:
			t.Errorf("%s.%s has 64 bits", owner.FullName(), fd.Name())
		}
	})
	if fields < 200 {
		t.Errorf("only %d fields", fields)
	}
}

// eachField visits the fields of all messages that come or go over HTTP.
func eachField(visit func(owner protoreflect.MessageDescriptor, fd protoreflect.FieldDescriptor)) {
	var seen []protoreflect.FullName
	var walk func(md protoreflect.MessageDescriptor)
	walk = func(md protoreflect.MessageDescriptor) {
		if slices.Contains(seen, md.FullName()) || md.FullName() == "google.api.HttpBody" {
			return
		}
		seen = append(seen, md.FullName())
		for i := range md.Fields().Len() {
			fd := md.Fields().Get(i)
			visit(md, fd)
			if fd.Message() != nil {
				walk(fd.Message())
			}
		}
	}
	for _, r := range routes() {
		walk(r.RPC.Input())
		walk(r.RPC.Output())
	}
}

func accessOf(m protoreflect.MethodDescriptor) *accesspb.Access {
	a, _ := proto.GetExtension(m.Options(), accesspb.E_Access).(*accesspb.Access)
	return a
}
