package access_test

import (
	"slices"
	"testing"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	accesspb "slipway.dev/proto/access/v1"
	authpb "slipway.dev/proto/auth/v4"
	restpb "slipway.dev/proto/rest/v1"

	"slipway.dev/pkg/access"
	"slipway.dev/pkg/identity"
)

// TestSilentMethods checks that methods with an incomplete access rule are found.
func TestSilentMethods(t *testing.T) {
	t.Parallel()
	method := func(name string, a *accesspb.Access) *descriptorpb.MethodDescriptorProto {
		m := &descriptorpb.MethodDescriptorProto{
			Name: &name, InputType: proto.String(".test.Nothing"), OutputType: proto.String(".test.Nothing"),
			Options: &descriptorpb.MethodOptions{},
		}
		if a != nil {
			proto.SetExtension(m.Options, accesspb.E_Access, a)
		}
		return m
	}
	fd, err := protodesc.NewFile(&descriptorpb.FileDescriptorProto{
		Name: proto.String("test.proto"), Package: proto.String("test"), Syntax: proto.String("proto3"),
		MessageType: []*descriptorpb.DescriptorProto{{Name: proto.String("Nothing")}},
		Service: []*descriptorpb.ServiceDescriptorProto{{Name: proto.String("TestService"), Method: []*descriptorpb.MethodDescriptorProto{
			method("Public", &accesspb.Access{Level: accesspb.Level_LEVEL_PUBLIC}),
			method("Service", &accesspb.Access{Level: accesspb.Level_LEVEL_SERVICE, Callers: []string{"vm"}}),
			method("User", &accesspb.Access{Level: accesspb.Level_LEVEL_USER, Scope: "x.read"}),
			method("NoOption", nil),
			method("NoLevel", &accesspb.Access{Scope: "x.read"}),
			method("NoScope", &accesspb.Access{Level: accesspb.Level_LEVEL_USER}),
			method("NoAdminScope", &accesspb.Access{Level: accesspb.Level_LEVEL_ADMIN}),
		}}},
	}, protoregistry.GlobalFiles)
	if err != nil {
		t.Fatal(err)
	}
	list, silent := access.Methods(fd.Services().Get(0))
	if want := []string{"NoOption", "NoLevel", "NoScope", "NoAdminScope"}; len(list) != 3 || !slices.Equal(silent, want) {
		t.Errorf("%d methods, silent %v", len(list), silent)
	}
}

// TestActsAndCalls checks that a GET that acts counts as a change, and that a method takes the demands of the rpc that it calls.
func TestActsAndCalls(t *testing.T) {
	t.Parallel()
	method := func(name, path string, a *accesspb.Access, r *restpb.Route) *descriptorpb.MethodDescriptorProto {
		o := &descriptorpb.MethodOptions{}
		proto.SetExtension(o, annotations.E_Http, &annotations.HttpRule{Pattern: &annotations.HttpRule_Get{Get: path}})
		proto.SetExtension(o, restpb.E_Route, r)
		if a != nil {
			proto.SetExtension(o, accesspb.E_Access, a)
		}
		return &descriptorpb.MethodDescriptorProto{
			Name: &name, InputType: proto.String(".test2.Nothing"), OutputType: proto.String(".test2.Nothing"), Options: o,
		}
	}
	read := &accesspb.Access{Level: accesspb.Level_LEVEL_USER, Scope: "x.read", Read: true}
	fd, err := protodesc.NewFile(&descriptorpb.FileDescriptorProto{
		Name: proto.String("test2.proto"), Package: proto.String("test2"), Syntax: proto.String("proto3"),
		MessageType: []*descriptorpb.DescriptorProto{{Name: proto.String("Nothing")}},
		Service: []*descriptorpb.ServiceDescriptorProto{{Name: proto.String("TestService"), Method: []*descriptorpb.MethodDescriptorProto{
			method("Look", "/look", read, &restpb.Route{}),
			method("Follow", "/follow", &accesspb.Access{Level: accesspb.Level_LEVEL_USER, Scope: "x.read"}, &restpb.Route{Acts: true}),
			method("Calls", "/calls", nil, &restpb.Route{Calls: "auth.v4.UserService/ListUsers"}),
			method("CallsNothing", "/none", nil, &restpb.Route{Calls: "auth.v4.UserService/None"}),
		}}},
	}, protoregistry.GlobalFiles)
	if err != nil {
		t.Fatal(err)
	}
	list, silent := access.Methods(fd.Services().Get(0))
	if len(list) != 3 || !slices.Equal(silent, []string{"CallsNothing"}) {
		t.Fatalf("%+v, silent %v", list, silent)
	}
	reader := identity.Identity{Roles: []string{identity.RoleReadOnlyAdmin}}
	for i, tt := range []struct {
		mutates, reader bool
		scope           string
	}{{false, true, "x.read"}, {true, false, "x.read"}, {false, true, "users.read"}} {
		m := list[i]
		if _, ok := reader.For(m.Demand); m.Mutates != tt.mutates || ok != tt.reader || m.Demand.Scope != tt.scope {
			t.Errorf("%+v, a read-only administrator may call it: %v", m, ok)
		}
	}
}

func TestMethods(t *testing.T) {
	t.Parallel()
	for _, m := range access.In(authpb.File_auth_v4_token_proto) {
		switch m.Name {
		case "/auth.v4.TokenService/DeleteToken":
			want := []string{"DELETE /auth/v4/token/{token}", "DELETE /auth/v3/session/{token}"}
			if !m.Mutates || !slices.Equal(m.Routes, want) || m.Demand != (identity.Demand{Scope: "tokens.write", Read: true}) {
				t.Errorf("%+v", m)
			}
		case "/auth.v4.TokenService/Whoami", "/auth.v4.TokenService/Introspect":
			if m.Mutates {
				t.Errorf("%s mutates", m.Name)
			}
		}
	}
}

func TestExpand(t *testing.T) {
	t.Parallel()
	known := []string{"nodes.read", "vms.power", "vms.read", "vmsx.read"}
	for pattern, want := range map[string][]string{
		"vms.read": {"vms.read"}, "vms.*": {"vms.power", "vms.read"}, "*.read": {"nodes.read", "vms.read", "vmsx.read"}, "*": known,
		"vms": nil, "vms*": nil, "v*s.read": nil, "": nil, "*.": nil, ".*": nil, "**": nil, "*read": nil, "*.*": nil,
	} {
		got, strange := access.Expand([]string{pattern}, known)
		if !slices.Equal(got, want) || (want == nil) != (len(strange) == 1) {
			t.Errorf("%q: %v, strange %q", pattern, got, strange)
		}
	}
}

// TestCovers compares identities by scope, by reach and by the limits of their credentials.
func TestCovers(t *testing.T) {
	t.Parallel()
	demands := []identity.Demand{{Scope: "vms.read", Read: true}, {Scope: "vms.write"}, {Scope: "users.write", Admin: true}}
	admin := identity.Identity{Roles: []string{identity.RoleAdmin}}
	user := identity.Identity{Roles: []string{identity.RoleUser}}
	reader := identity.Identity{Roles: []string{identity.RoleReadOnlyAdmin}}
	help := identity.Identity{Roles: []string{identity.RoleUser}, GrantsAll: []string{"users.write"}}
	seer := identity.Identity{Roles: []string{identity.RoleUser}, GrantsAll: []string{"vms.read"}}
	limited := identity.Identity{Roles: []string{identity.RoleAdmin}, Limited: true, Only: []string{"users.write"}}
	for name, tt := range map[string]struct {
		by, other identity.Identity
		want      bool
	}{
		"administrators are equals": {admin, admin, true}, "an administrator and anybody": {admin, help, true},
		"a user and an administrator": {user, admin, false}, "users are equals": {user, user, true},
		"help and a user": {help, user, true}, "a user and help": {user, help, false},
		"help and one who sees all": {help, seer, false}, "help and a reader": {help, reader, false},
		"a limited administrator and a user": {limited, user, false}, "a limited administrator and an anonymous caller": {limited, identity.Identity{}, true},
	} {
		if more, ok := access.Covers(demands, tt.by, tt.other); ok != tt.want || ok == (more != "") {
			t.Errorf("%s: %v %q", name, ok, more)
		}
	}
}
