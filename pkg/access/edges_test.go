package access_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"

	"slipway.dev/proto/all"

	accesspb "slipway.dev/proto/access/v1"
	restpb "slipway.dev/proto/rest/v1"

	"slipway.dev/pkg/access"
	"slipway.dev/pkg/identity"
)

// edgeFile has methods and a message with fields of many kinds.
func edgeFile(t *testing.T) protoreflect.FileDescriptor {
	t.Helper()
	field := func(n int32, name string, kind descriptorpb.FieldDescriptorProto_Type) *descriptorpb.FieldDescriptorProto {
		return &descriptorpb.FieldDescriptorProto{
			Name: &name, Number: &n, Type: &kind, Label: descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum(),
		}
	}
	const text = descriptorpb.FieldDescriptorProto_TYPE_STRING
	secret, list, message := field(4, "secret", text), field(5, "list", text), field(8, "message", descriptorpb.FieldDescriptorProto_TYPE_MESSAGE)
	secret.Options = &descriptorpb.FieldOptions{}
	proto.SetExtension(secret.Options, restpb.E_Secret, true)
	list.Label = descriptorpb.FieldDescriptorProto_LABEL_REPEATED.Enum()
	message.TypeName = proto.String(".edges.Thing")
	method := func(name string, read bool, rules ...*annotations.HttpRule) *descriptorpb.MethodDescriptorProto {
		o := &descriptorpb.MethodOptions{}
		proto.SetExtension(o, accesspb.E_Access, &accesspb.Access{Level: accesspb.Level_LEVEL_USER, Scope: "x", Read: read})
		if len(rules) > 0 {
			rules[0].AdditionalBindings = rules[1:]
			proto.SetExtension(o, annotations.E_Http, rules[0])
		}
		return &descriptorpb.MethodDescriptorProto{
			Name: &name, InputType: proto.String(".edges.Thing"), OutputType: proto.String(".edges.Thing"), Options: o,
		}
	}
	get := func() *annotations.HttpRule {
		return &annotations.HttpRule{Pattern: &annotations.HttpRule_Get{Get: "/get"}}
	}
	fd, err := protodesc.NewFile(&descriptorpb.FileDescriptorProto{
		Name: proto.String("edges.proto"), Package: proto.String("edges"), Syntax: proto.String("proto3"),
		MessageType: []*descriptorpb.DescriptorProto{{Name: proto.String("Thing"), Field: []*descriptorpb.FieldDescriptorProto{
			field(1, "number", descriptorpb.FieldDescriptorProto_TYPE_INT32), field(2, "large", descriptorpb.FieldDescriptorProto_TYPE_INT64),
			field(3, "text", text), secret, list, field(6, "flag", descriptorpb.FieldDescriptorProto_TYPE_BOOL),
			field(7, "bytes", descriptorpb.FieldDescriptorProto_TYPE_BYTES), message,
		}}},
		Service: []*descriptorpb.ServiceDescriptorProto{{Name: proto.String("EdgeService"), Method: []*descriptorpb.MethodDescriptorProto{
			method("GetUnread", false, get()),
			method("Silent", false),
			method("SilentRead", true),
			method("Post", true, get(), &annotations.HttpRule{Pattern: &annotations.HttpRule_Post{Post: "/post"}, Body: "*"}),
			method("All", true,
				&annotations.HttpRule{Pattern: &annotations.HttpRule_Put{Put: "/put"}}, &annotations.HttpRule{Pattern: &annotations.HttpRule_Patch{Patch: "/patch"}},
				&annotations.HttpRule{Pattern: &annotations.HttpRule_Delete{Delete: "/delete"}},
				&annotations.HttpRule{Pattern: &annotations.HttpRule_Custom{Custom: &annotations.CustomHttpPattern{Kind: "HEAD", Path: "/head"}}}),
		}}},
	}, protoregistry.GlobalFiles)
	if err != nil {
		t.Fatal(err)
	}
	return fd
}

// TestWhatChanges checks which methods count as a change, by their routes and their access rule, and lists their routes.
func TestWhatChanges(t *testing.T) {
	t.Parallel()
	fd := edgeFile(t)
	list, silent := access.Methods(fd.Services().Get(0))
	var got []string
	for _, m := range list {
		got = append(got, strings.TrimPrefix(m.Name, "/edges.EdgeService/")+map[bool]string{true: " changes"}[m.Mutates]+" "+strings.Join(m.Routes, ", "))
	}
	want := []string{
		"GetUnread GET /get", "Silent changes ", "SilentRead ", "Post changes GET /get, POST /post",
		"All changes PUT /put, PATCH /patch, DELETE /delete, HEAD /head",
	}
	if !slices.Equal(got, want) || len(silent) > 0 {
		t.Errorf("%q, silent %q", got, silent)
	}
	routes := access.RoutesOf(fd.Services().Get(0).Methods().ByName("Post"))
	if !slices.Equal(routes, []access.Route{{Verb: http.MethodGet, Path: "/get"}, {Verb: http.MethodPost, Path: "/post", Body: true}}) {
		t.Errorf("%+v", routes)
	}
}

// object returns what a method declares whose object's id is in a field.
func object(field string) *accesspb.Object {
	return &accesspb.Object{Id: &accesspb.Object_Field{Field: field}}
}

// TestIDs checks which fields can name an object, and how long an id may be.
func TestIDs(t *testing.T) {
	t.Parallel()
	d := edgeFile(t).Messages().Get(0)
	for name, want := range map[string]bool{
		"number": true, "large": true, "text": true, "secret": false, "list": false, "flag": false, "bytes": false, "message": false,
	} {
		if got := access.HoldsID(d.Fields().ByName(protoreflect.Name(name))); got != want {
			t.Errorf("%s: %v", name, got)
		}
	}
	req := dynamicpb.NewMessage(d)
	set := func(name string, v any) { req.Set(d.Fields().ByName(protoreflect.Name(name)), protoreflect.ValueOf(v)) }
	of := func(name string) string { return access.Method{Object: object(name)}.ObjectID(req) }
	set("secret", "canary")
	set("number", int32(7))
	set("flag", true)
	for name, want := range map[string]string{"number": "7", "secret": "", "flag": "", "list": "", "message": "", "no_such": "", "": ""} {
		if id := of(name); id != want {
			t.Errorf("%q: %q, want %q", name, id, want)
		}
	}
	for n, want := range map[int]int{63: 63, 64: 64, 65: 0} {
		set("text", strings.Repeat("x", n))
		if id := of("text"); len(id) != want {
			t.Errorf("of %d bytes %d are an id", n, len(id))
		}
	}
	if id := (access.Method{Object: object("text")}).ObjectID(nil); id != "" {
		t.Errorf("no request: %q", id)
	}
	if id := (access.Method{}).ObjectID(req); id != "" {
		t.Errorf("no object: %q", id)
	}
}

// TestRecorded checks which methods have a record of their own.
func TestRecorded(t *testing.T) {
	t.Parallel()
	part := &accesspb.Object{Id: &accesspb.Object_Part{Part: true}}
	for _, tt := range []struct {
		m    access.Method
		want bool
	}{
		{access.Method{Mutates: true}, true},
		{access.Method{Mutates: true, Object: part}, false},
		{access.Method{}, false},
		{access.Method{Object: part}, false},
	} {
		if tt.m.Recorded() != tt.want {
			t.Errorf("%+v: %v", tt.m, !tt.want)
		}
	}
}

// TestByName finds methods by their full names, and nothing else.
func TestByName(t *testing.T) {
	t.Parallel()
	_ = all.Files() // linked
	for name, want := range map[string]bool{
		"/vm.v3.HostService/StartHost": true, "vm.v3.HostService/StartHost": true,
		"/vm.v3.HostService/None": false, "/vm.v3.StartHostRequest": false, "/vm.v3.HostService": false, "": false,
	} {
		m, ok := access.ByName(name)
		if ok != want || (m.Name == "/vm.v3.HostService/StartHost") != want {
			t.Errorf("%q: %+v %v", name, m, ok)
		}
	}
}

// TestDemands checks that each demand is listed once, in the order of scopes, without those that concern all callers.
func TestDemands(t *testing.T) {
	t.Parallel()
	b, readB, a := identity.Demand{Scope: "b"}, identity.Demand{Scope: "b", Read: true}, identity.Demand{Scope: "a", Admin: true}
	var methods []access.Method
	for _, d := range []identity.Demand{b, {}, readB, {Scope: identity.ScopeSelf}, a, b, a} {
		methods = append(methods, access.Method{Demand: d})
	}
	if got := access.Demands(methods); !slices.Equal(got, []identity.Demand{a, b, readB}) {
		t.Errorf("%+v", got)
	}
	if got := access.Scopes([]identity.Demand{b, readB, a, b}); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("%q", got)
	}
	scopes, strange := access.Expand([]string{"b.*", "*", "c.x", "d"}, []string{"b.y", "a.x", "b.x"})
	if !slices.Equal(scopes, []string{"a.x", "b.x", "b.y"}) || !slices.Equal(strange, []string{"c.x", "d"}) {
		t.Errorf("%q, strange %q", scopes, strange)
	}
}

// TestCallersAreServices checks that "*" is the sorted list of the packages with services, each once.
func TestCallersAreServices(t *testing.T) {
	t.Parallel()
	m, ok := access.ByName("/auth.v4.TokenService/ListKeys")
	if !ok || !slices.IsSorted(m.Callers) || len(slices.Compact(slices.Clone(m.Callers))) != len(m.Callers) {
		t.Errorf("%v %q", ok, m.Callers)
	}
	for _, name := range []string{"google", "access", "rest", "query", "op"} {
		if slices.Contains(m.Callers, name) {
			t.Errorf("%s is no service, and is among %q", name, m.Callers)
		}
	}
}
