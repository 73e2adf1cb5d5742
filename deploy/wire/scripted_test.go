package wire

import (
	"context"
	"log/slog"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"slipway.dev/proto/all"
	authpb "slipway.dev/proto/auth/v4"
	restpb "slipway.dev/proto/rest/v1"

	"slipway.dev/gateway"
	"slipway.dev/pkg/access"
)

// full answers every call with a message in which every field is set.
type full struct{}

func (full) Invoke(_ context.Context, _ string, in, out any, _ ...grpc.CallOption) error {
	fill(out.(proto.Message).ProtoReflect(), 0)
	if _, ok := in.(*authpb.IntrospectRequest); ok {
		out.(*authpb.IntrospectResponse).ExpiresAt = nil
	}
	return nil
}

// NewStream returns a stream that takes all messages.
func (full) NewStream(context.Context, *grpc.StreamDesc, string, ...grpc.CallOption) (grpc.ClientStream, error) {
	return fullStream{}, nil
}

type fullStream struct{ grpc.ClientStream }

func (fullStream) SendMsg(any) error { return nil }
func (fullStream) CloseSend() error  { return nil }
func (fullStream) RecvMsg(out any) error {
	fill(out.(proto.Message).ProtoReflect(), 0)
	return nil
}

// fill sets every field of a message, up to a depth at which messages that contain themselves end.
func fill(m protoreflect.Message, depth int) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		fd := fields.Get(i)
		switch {
		case fd.Message() != nil && depth > 6:
		case fd.IsMap():
		case fd.IsList() && fd.Message() != nil:
			item := m.Mutable(fd).List().AppendMutable()
			fill(item.Message(), depth+1)
		case fd.IsList():
			m.Mutable(fd).List().Append(value(fd))
		case fd.Message() != nil:
			fill(m.Mutable(fd).Message(), depth+1)
		default:
			m.Set(fd, value(fd))
		}
	}
}

func value(fd protoreflect.FieldDescriptor) protoreflect.Value {
	switch fd.Kind() {
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(true)
	case protoreflect.StringKind:
		return protoreflect.ValueOfString("text")
	case protoreflect.DoubleKind:
		return protoreflect.ValueOfFloat64(1.5)
	case protoreflect.Int32Kind:
		return protoreflect.ValueOfInt32(7)
	default:
		return fd.Default()
	}
}

// paths lists the routes of the dialect, such as "GET /vm/v3/host/{id}".
func paths() (list []string) {
	for _, f := range all.Files() {
		if name, _ := proto.GetExtension(f.Options(), restpb.E_Dialect).(string); name != "ispsystem" {
			continue
		}
		for i := range f.Services().Len() {
			methods := f.Services().Get(i).Methods()
			for j := range methods.Len() {
				for _, r := range access.RoutesOf(methods.Get(j)) {
					list = append(list, r.Verb+" "+r.Path)
				}
			}
		}
	}
	return list
}

var variable = regexp.MustCompile(`\{\w+\}`)

// TestEveryAnswer: the answer of every route, with all of its fields, is what the table says, and the table has no other routes.
func TestEveryAnswer(t *testing.T) {
	t.Parallel()
	table, err := Answers()
	if err != nil {
		t.Fatal(err)
	}
	gw, err := gateway.New(gateway.Config{}, gateway.Conns{"auth": full{}, "vm": full{}, "ip": full{}}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	list := paths()
	for _, name := range list {
		method, path, _ := strings.Cut(name, " ")
		if name == "GET /vm/v3/host/{id}/console" || name == "GET /vm/v3/console" || strings.HasSuffix(path, "/metrics") {
			continue // as the service writes it
		}
		path = variable.ReplaceAllString(path, "7")
		r := httptest.NewRequestWithContext(t.Context(), method, path, nil)
		r.Header.Set("x-xsrf-token", "any")
		rec := httptest.NewRecorder()
		gw.Handler().ServeHTTP(rec, r)
		if rec.Code >= 300 {
			t.Errorf("%s: %d %s", name, rec.Code, rec.Body)
			continue
		}
		if err := table.Check(method, path, rec.Body.Bytes()); err != nil {
			t.Error(err)
		}
		if got := table.Route(method, path); got != name {
			t.Errorf("%s is %q in the table", name, got)
		}
	}
	for _, name := range table.Routes() {
		if !slices.Contains(list, name) {
			t.Errorf("the table has %s, which is no route", name)
		}
	}
}
