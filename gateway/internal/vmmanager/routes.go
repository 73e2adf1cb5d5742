package vmmanager

import (
	"net/http"
	"slices"
	"strings"
	"sync"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	authpb "slipway.dev/proto/auth/v4"
	ippb "slipway.dev/proto/ip/v3"
	vmpb "slipway.dev/proto/vm/v3"
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
	vmpb.File_vm_v3_account_proto, vmpb.File_vm_v3_limit_proto, vmpb.File_vm_v3_task_proto, vmpb.File_vm_v3_audit_proto,
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
	rule, _ := proto.GetExtension(m.Options(), annotations.E_Http).(*annotations.HttpRule)
	if rule == nil {
		return nil
	}
	var all []Route
	for i, r := range append([]*annotations.HttpRule{rule}, rule.GetAdditionalBindings()...) {
		out := Route{Body: r.GetBody() != "", Also: i > 0, RPC: m}
		switch p := r.GetPattern().(type) {
		case *annotations.HttpRule_Get:
			out.Method, out.Path = http.MethodGet, p.Get
		case *annotations.HttpRule_Post:
			out.Method, out.Path = http.MethodPost, p.Post
		case *annotations.HttpRule_Delete:
			out.Method, out.Path = http.MethodDelete, p.Delete
		default:
			continue // the dialect has no other methods
		}
		all = append(all, out)
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
