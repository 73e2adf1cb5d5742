// Package access reads from the protos what each method demands of its caller. Servers enforce these rules; auth derives from
// them the list of scopes and the comparison of rights.
package access

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	accesspb "slipway.dev/proto/access/v1"
	restpb "slipway.dev/proto/rest/v1"

	"slipway.dev/pkg/identity"
)

// Method is an rpc with its access rule and its routes.
type Method struct {
	// Name is the full name, such as "/vm.v3.HostService/StartHost".
	Name    string
	Level   accesspb.Level
	Callers []string
	Demand  identity.Demand
	// Routes are the REST paths of the method, such as "POST /vm/v3/host/{id}/start". A method without routes is for services.
	Routes []string
	// Mutates reports that the method may change something. A GET only reads, unless the method declares that it acts.
	Mutates bool
	// Repeat says what a second call with the same idempotency key does.
	Repeat accesspb.Repeat
	// Object is the kind of object that the method changes, and where its id is; nil for a method that only reads.
	Object *accesspb.Object
}

// Methods lists the methods of a service. It also returns the names of methods that lack an access level, or a scope where
// one is needed.
func Methods(s protoreflect.ServiceDescriptor) (list []Method, silent []string) {
	for i := range s.Methods().Len() {
		d := s.Methods().Get(i)
		m := of(d)
		forUsers := m.Level == accesspb.Level_LEVEL_USER || m.Level == accesspb.Level_LEVEL_ADMIN
		if m.Level == accesspb.Level_LEVEL_UNSPECIFIED || forUsers && m.Demand.Scope == "" {
			silent = append(silent, string(d.Name()))
			continue
		}
		list = append(list, m)
	}
	return list, silent
}

// In lists the methods of all services that the files declare.
func In(files ...protoreflect.FileDescriptor) []Method {
	var list []Method
	for _, f := range files {
		for i := range f.Services().Len() {
			methods, _ := Methods(f.Services().Get(i))
			list = append(list, methods...)
		}
	}
	return list
}

func of(d protoreflect.MethodDescriptor) Method {
	a := Of(d)
	acts := RestOf(d).GetActs()
	m := Method{
		Name: fmt.Sprintf("/%s/%s", d.Parent().FullName(), d.Name()), Level: a.GetLevel(), Callers: callers(d, a.GetCallers()),
		Demand: identity.Demand{Scope: a.GetScope(), Admin: a.GetLevel() == accesspb.Level_LEVEL_ADMIN, Read: a.GetRead()},
		Repeat: a.GetRepeat(), Object: ObjectOf(d),
	}
	routes := RoutesOf(d)
	m.Mutates = acts || len(routes) == 0 && !a.GetRead()
	for _, r := range routes {
		m.Routes = append(m.Routes, r.Verb+" "+r.Path)
		m.Mutates = m.Mutates || r.Verb != http.MethodGet
	}
	return m
}

// Of returns the access rule of a method: its own, or that of the core rpc that it names in the option "calls". It returns nil
// when there is neither.
func Of(d protoreflect.MethodDescriptor) *accesspb.Access {
	if a, _ := proto.GetExtension(d.Options(), accesspb.E_Access).(*accesspb.Access); a != nil {
		return a
	}
	name := strings.ReplaceAll(RestOf(d).GetCalls(), "/", ".")
	called, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(name))
	if m, ok := called.(protoreflect.MethodDescriptor); ok && err == nil {
		a, _ := proto.GetExtension(m.Options(), accesspb.E_Access).(*accesspb.Access)
		return a
	}
	return nil
}

// RestOf returns the options of a method's routes, or nil if it has none.
func RestOf(d protoreflect.MethodDescriptor) *restpb.Route {
	r, _ := proto.GetExtension(d.Options(), restpb.E_Route).(*restpb.Route)
	return r
}

// Route is a REST path of a method.
type Route struct {
	// Verb is the method of HTTP.
	Verb string
	// Path is the template, such as /vm/v3/host/{id}.
	Path string
	// Body reports that the message is in the body and not in the query.
	Body bool
}

// RoutesOf lists the routes that a method declares, the main one first.
func RoutesOf(d protoreflect.MethodDescriptor) []Route {
	rule, _ := proto.GetExtension(d.Options(), annotations.E_Http).(*annotations.HttpRule)
	if rule == nil {
		return nil
	}
	var routes []Route
	for _, r := range append([]*annotations.HttpRule{rule}, rule.GetAdditionalBindings()...) {
		verb, path := verbOf(r)
		routes = append(routes, Route{verb, path, r.GetBody() != ""})
	}
	return routes
}

func verbOf(r *annotations.HttpRule) (verb, path string) {
	switch p := r.GetPattern().(type) {
	case *annotations.HttpRule_Get:
		return http.MethodGet, p.Get
	case *annotations.HttpRule_Post:
		return http.MethodPost, p.Post
	case *annotations.HttpRule_Put:
		return http.MethodPut, p.Put
	case *annotations.HttpRule_Patch:
		return http.MethodPatch, p.Patch
	case *annotations.HttpRule_Delete:
		return http.MethodDelete, p.Delete
	default:
		return r.GetCustom().GetKind(), r.GetCustom().GetPath()
	}
}

// Demands lists the demands of methods on users, each demand once, in the order of scopes.
func Demands(methods []Method) []identity.Demand {
	var list []identity.Demand
	for _, m := range methods {
		if m.Demand.Scope != "" && m.Demand.Scope != identity.ScopeSelf && !slices.Contains(list, m.Demand) {
			list = append(list, m.Demand)
		}
	}
	slices.SortStableFunc(list, func(a, b identity.Demand) int { return strings.Compare(a.Scope, b.Scope) })
	return list
}
