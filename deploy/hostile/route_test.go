package hostile

import (
	"regexp"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	accesspb "slipway.dev/proto/access/v1"

	"slipway.dev/pkg/access"
)

// route is a path that some proto declares.
type route struct {
	method, path string
	body         bool
	rpc          protoreflect.MethodDescriptor
	access       *accesspb.Access
}

// routes returns the routes of all services of the installation.
func routes() (all []route) {
	protoregistry.GlobalFiles.RangeFiles(func(f protoreflect.FileDescriptor) bool {
		for i := range f.Services().Len() {
			methods := f.Services().Get(i).Methods()
			for j := range methods.Len() {
				all = append(all, routesOf(methods.Get(j))...)
			}
		}
		return true
	})
	slices.SortFunc(all, func(a, b route) int { return strings.Compare(a.path+a.method, b.path+b.method) })
	return all
}

func routesOf(m protoreflect.MethodDescriptor) (all []route) {
	rule, _ := proto.GetExtension(m.Options(), accesspb.E_Access).(*accesspb.Access)
	if rule == nil {
		return nil
	}
	for _, r := range access.RoutesOf(m) {
		all = append(all, route{method: r.Verb, path: r.Path, body: r.Body, rpc: m, access: rule})
	}
	return all
}

var variable = regexp.MustCompile(`\{(\w+)\}`)

// params are the names of the variables in the path.
func (r route) params() (names []string) {
	for _, m := range variable.FindAllStringSubmatch(r.path, -1) {
		names = append(names, m[1])
	}
	return names
}

// with replaces the path's variables by values.
func (r route) with(value func(name string) string) string {
	return variable.ReplaceAllStringFunc(r.path, func(v string) string { return value(strings.Trim(v, "{}")) })
}

// noun returns the kind of object that the first variable of the path names; "" for a path without one.
func (r route) noun() string {
	if all := r.nouns(); len(all) > 0 {
		return all[0]
	}
	return ""
}

// nouns returns the kinds of objects that the variables of the path name: the segments before them, or those from "settings" on.
func (r route) nouns() (list []string) {
	for _, at := range variable.FindAllStringIndex(r.path, -1) {
		before := strings.TrimSuffix(r.path[:at[0]], "/")
		if i := strings.Index(before, "/settings/"); i >= 0 {
			list = append(list, before[i+1:])
		} else {
			list = append(list, before[strings.LastIndexByte(before, '/')+1:])
		}
	}
	return list
}

// rpcOf returns the method of a name.
func rpcOf(name protoreflect.Name) protoreflect.MethodDescriptor {
	for _, r := range routes() {
		if r.rpc.Name() == name {
			return r.rpc
		}
	}
	return nil
}

// fields are those of the request that the body or the query carries.
func (r route) fields() (list []protoreflect.FieldDescriptor) {
	in := r.rpc.Input().Fields()
	for i := range in.Len() {
		if fd := in.Get(i); !slices.Contains(r.params(), string(fd.Name())) && fd.Name() != "query" {
			list = append(list, fd)
		}
	}
	return list
}

// lists reports whether the route accepts where, orderby and limit.
func (r route) lists() bool { return !r.body && r.rpc.Input().Fields().ByName("query") != nil }

const (
	levelPublic = accesspb.Level_LEVEL_PUBLIC
	levelUser   = accesspb.Level_LEVEL_USER
)
