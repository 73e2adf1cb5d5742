package rest

import (
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	accesspb "slipway.dev/proto/access/v1"
	querypb "slipway.dev/proto/query/v1"
	restpb "slipway.dev/proto/rest/v1"

	"slipway.dev/pkg/access"

	"slipway.dev/gateway/internal/edge"
)

// Route is one path that a dialect answers.
type Route struct {
	Method string
	// Path is the template, such as /vm/v3/host/{id}.
	Path string
	// Body: the message is in the body; else in the query.
	Body bool
	// Also: an additional path of a preceding route.
	Also bool
	RPC  protoreflect.MethodDescriptor
}

// Routes lists what files declare for a dialect, in their order.
func Routes(dialect string, files []protoreflect.FileDescriptor) []Route {
	var all []Route
	for _, f := range files {
		if name, _ := proto.GetExtension(f.Options(), restpb.E_Dialect).(string); name != dialect {
			continue
		}
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

// queryField is the request field of lists that holds condition, order and page.
const queryField = "query"

var queryMessage = (*querypb.Query)(nil).ProtoReflect().Descriptor().FullName()

// Lists reports whether the route is a list, with condition, order and page.
func (r Route) Lists() bool { return !r.Body && queryOf(r.RPC.Input()) != nil }

func queryOf(md protoreflect.MessageDescriptor) protoreflect.FieldDescriptor {
	fd := md.Fields().ByName(queryField)
	if fd == nil || fd.Message() == nil || fd.Message().FullName() != queryMessage {
		return nil
	}
	return fd
}

// Status returns the HTTP status of a success.
func (r Route) Status() int {
	if s := access.RestOf(r.RPC).GetStatus(); s != 0 {
		return int(s)
	}
	return 200
}

// MediaType returns the media type of an answer that is a google.api.HttpBody, or "".
func (r Route) MediaType() string { return access.RestOf(r.RPC).GetMediaType() }

// File returns the media type of a body that is a file, or "".
func (r Route) File() string { return access.RestOf(r.RPC).GetFile() }

// Brief lists the fields of the answer of which the route shows the id alone.
func (r Route) Brief() []string { return access.RestOf(r.RPC).GetIds() }

// Secret reports whether a field holds a credential.
func Secret(fd protoreflect.FieldDescriptor) bool {
	secret, _ := proto.GetExtension(fd.Options(), restpb.E_Secret).(bool)
	return secret
}

// Hidden reports whether a field is hidden from REST clients.
func Hidden(fd protoreflect.FieldDescriptor) bool {
	hidden, _ := proto.GetExtension(fd.Options(), restpb.E_Hidden).(bool)
	return hidden
}

// maxPublicBody is the largest body in bytes of a method that accepts callers without a credential.
const maxPublicBody = 16 << 10

// public reports whether the route accepts callers without a credential.
func (r Route) public() bool { return access.Of(r.RPC).GetLevel() == accesspb.Level_LEVEL_PUBLIC }

// edge returns what the edge must know about the route; false if the route has no special properties.
func (r Route) edge() (edge.Route, bool) {
	o := access.RestOf(r.RPC)
	e := edge.Route{
		Method: r.Method, Path: r.Path, Acts: o.GetActs(),
		Limits: edge.Limits{Body: o.GetMaxBody(), Time: time.Duration(o.GetMaxSeconds()) * time.Second},
	}
	if r.public() && e.Limits.Body == 0 {
		e.Limits.Body = maxPublicBody
	}
	for _, name := range r.Params() {
		if fd := r.RPC.Input().Fields().ByName(protoreflect.Name(name)); fd != nil && Secret(fd) {
			e.Secret = name
			break
		}
	}
	return e, e.Acts || e.Secret != "" || e.Limits != edge.Limits{}
}

// groups lists the first two segments of the paths of routes, each once.
func groups(routes []Route) []string {
	var list []string
	for _, r := range routes {
		parts := strings.SplitN(r.Path, "/", 4)
		if g := strings.Join(parts[:min(3, len(parts))], "/"); !slices.Contains(list, g) {
			list = append(list, g)
		}
	}
	return list
}
