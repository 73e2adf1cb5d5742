package vmmanager

import (
	"slices"
	"strings"
	"sync"

	"google.golang.org/protobuf/reflect/protoreflect"

	authpb "slipway.dev/proto/auth/v4"
	ippb "slipway.dev/proto/ip/v3"
	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/pkg/access"
)

// Route is one path that the dialect answers.
type Route struct {
	Method string
	// Path is the template, such as /vm/v3/host/{id}.
	Path string
	// Body: the message is in the body; else in the query.
	Body bool
	// Also: another spelling of a route that came before.
	Also bool
	RPC  protoreflect.MethodDescriptor
}

// Files declare the services of the dialect.
var Files = []protoreflect.FileDescriptor{
	authpb.File_auth_v4_token_proto, authpb.File_auth_v4_key_proto, authpb.File_auth_v4_user_proto, authpb.File_auth_v4_setting_proto,
	authpb.File_auth_v4_apikey_proto, authpb.File_auth_v4_role_proto, authpb.File_auth_v4_audit_proto,
	authpb.File_auth_v4_self_proto, authpb.File_auth_v4_totp_proto,
	vmpb.File_vm_v3_host_proto, vmpb.File_vm_v3_cluster_proto, vmpb.File_vm_v3_node_proto, vmpb.File_vm_v3_os_proto,
	vmpb.File_vm_v3_account_proto, vmpb.File_vm_v3_limit_proto, vmpb.File_vm_v3_task_proto, vmpb.File_vm_v3_fsck_proto,
	ippb.File_ip_v3_network_proto, ippb.File_ip_v3_pool_proto, ippb.File_ip_v3_address_proto, ippb.File_ip_v3_setting_proto,
}

// Routes lists what the protos declare, in their order.
var Routes = sync.OnceValue(func() []Route { return RoutesIn(Files) })

// RoutesIn lists what these files declare.
func RoutesIn(files []protoreflect.FileDescriptor) []Route {
	var all []Route
	for _, f := range files {
		for i := range f.Services().Len() {
			methods := f.Services().Get(i).Methods()
			for j := range methods.Len() {
				all = append(all, routesOf(methods.Get(j))...)
			}
		}
	}
	return all
}

func routesOf(m protoreflect.MethodDescriptor) []Route {
	var all []Route
	for i, r := range access.RoutesOf(m) {
		all = append(all, Route{Method: r.Verb, Path: r.Path, Body: r.Body, Also: i > 0, RPC: m})
	}
	return all
}

// allowed lists the methods that a path takes.
func allowed(path string) []string {
	var methods []string
	segments := strings.Split(path, "/")
	for _, r := range Routes() {
		if !slices.Contains(methods, r.Method) && matches(strings.Split(r.Path, "/"), segments) {
			methods = append(methods, r.Method)
		}
	}
	slices.Sort(methods)
	return methods
}

func matches(template, path []string) bool {
	return slices.EqualFunc(template, path, func(t, p string) bool { return t == p || strings.HasPrefix(t, "{") && p != "" })
}

// Params lists the variables of the path.
func (r Route) Params() []string {
	var names []string
	for s := range strings.SplitSeq(r.Path, "/") {
		if name, ok := strings.CutPrefix(s, "{"); ok {
			names = append(names, strings.TrimSuffix(name, "}"))
		}
	}
	return names
}

// Lists reports whether the route takes where, orderby and limit.
func (r Route) Lists() bool {
	fd := r.RPC.Input().Fields().ByName(queryField)
	return !r.Body && fd != nil && fd.Message() != nil && fd.Message().FullName() == queryMessage
}

// Status is what a success answers.
func (r Route) Status() int {
	return successStatus("/" + string(r.RPC.Parent().FullName()) + "/" + string(r.RPC.Name()))
}
