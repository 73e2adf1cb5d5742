package rest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/reflect/protoreflect"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/idem"
	"slipway.dev/pkg/rpc"

	"slipway.dev/gateway/internal/edge"
)

// API serves the routes of one dialect. Requests have passed the edge.
type API struct {
	dialect Dialect
	routes  []Route
	// muxes by the first depth segments of their paths, because a mux tries its routes one by one.
	muxes map[string]*runtime.ServeMux
	depth int
	raw   map[protoreflect.FullName]http.Handler
	room  *room
	walks *walks
	rates *Rates
}

// New returns the API of a dialect with the routes that files declare for it. It fails if a route leads to a service
// without connection, or if a message has a field that the kit cannot read or write.
func New(d Dialect, files []protoreflect.FileDescriptor, conns Conns) (*API, error) {
	files = append(slices.Clone(files), d.Files...)
	a := &API{dialect: d, routes: Routes(d.Name, files), room: newRoom(), walks: newWalks(maxWalks, maxWalksOf)}
	a.muxes, a.depth = map[string]*runtime.ServeMux{}, fixed(a.routes)
	all := Conns{}
	for name, c := range conns {
		all[name] = renewing{c}
	}
	own := local{}
	if d.Serve != nil {
		d.Serve(own, all)
	}
	if d.Raw != nil {
		a.raw = d.Raw(all)
	}
	var problems []error
	for _, r := range inOrder(a.routes) {
		c, err := a.call(r, own, all)
		if err == nil {
			err = a.mux(r.Path).HandlePath(r.Method, r.Path, c.serve)
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("rest: %s %s: %w", r.Method, r.Path, err))
		}
	}
	if len(a.routes) == 0 {
		problems = append(problems, fmt.Errorf("rest: no proto has a route of the dialect %q", d.Name))
	}
	return a, errors.Join(problems...)
}

// inOrder returns routes in the order in which a mux, which tries the last one first, prefers text to a variable:
// /os/all is not /os/{id}.
func inOrder(routes []Route) []Route {
	shape := func(r Route) string { // of a path: 0 for a variable, 1 for text
		var b strings.Builder
		for s := range strings.SplitSeq(r.Path, "/") {
			if strings.HasPrefix(s, "{") {
				b.WriteByte('0')
			} else {
				b.WriteByte('1')
			}
		}
		return b.String()
	}
	list := slices.Clone(routes)
	slices.SortStableFunc(list, func(a, b Route) int { return strings.Compare(shape(a), shape(b)) })
	return list
}

// fixed returns the number of leading segments that are text in the paths of all routes, at most three.
func fixed(routes []Route) int {
	depth := 3
	for _, r := range routes {
		segments := strings.Split(r.Path, "/")[1:]
		for i, s := range segments[:min(depth, len(segments))] {
			if strings.HasPrefix(s, "{") {
				depth = i
				break
			}
		}
		depth = min(depth, len(segments))
	}
	return depth
}

// group returns the first depth segments of a path.
func (a *API) group(path string) string {
	end := 0
	for range a.depth {
		if end == len(path) {
			return path
		}
		if next := strings.IndexByte(path[end+1:], '/'); next >= 0 {
			end += 1 + next
		} else {
			end = len(path)
		}
	}
	return path[:end]
}

// mux returns the mux for a path of a route and creates it if needed.
func (a *API) mux(path string) *runtime.ServeMux {
	group := a.group(path)
	if a.muxes[group] == nil {
		a.muxes[group] = runtime.NewServeMux(
			runtime.WithErrorHandler(a.onError),
			runtime.WithRoutingErrorHandler(a.onRoutingError),
			runtime.WithDisablePathLengthFallback(),
			runtime.WithDisableHTTPMethodOverride(),
			// The path is unescaped once, segment by segment, so a %2F is no separator.
			runtime.WithUnescapingMode(runtime.UnescapingModeAllExceptSlash),
		)
	}
	return a.muxes[group]
}

// Limit makes the API count changes by k, which several dialects may share.
func (a *API) Limit(k *Rates) { a.rates = k }

// Routes lists the routes of the dialect.
func (a *API) Routes() []Route { return a.routes }

// Mount returns how the edge reaches the API: by handler, which ends in the API.
func (a *API) Mount(handler http.Handler) *edge.Mount {
	m := &edge.Mount{
		Name: a.dialect.Name, Prefixes: a.dialect.Prefixes, Alias: a.dialect.Alias, Fail: a.dialect.Fail,
		Credentials: a.dialect.Credentials, Limits: a.dialect.Limits, Parameters: a.dialect.Parameters, Groups: groups(a.routes), Handler: handler,
	}
	for _, r := range a.routes {
		if e, ok := r.edge(); ok {
			m.Routes = append(m.Routes, e)
		}
	}
	return m
}

// ServeHTTP answers a request. It reads only the headers Accept and Idempotency-Key.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodPost {
		if err := takeOnceKey(r); err != nil {
			a.dialect.Fail(w, r, err)
			return
		}
	}
	if r.Method == http.MethodHead {
		get := *r
		get.Method, get.Header = http.MethodGet, nil // an answer without body is no export
		r = &get
		edge.Of(r.Context()).Head = true
	}
	if mux := a.muxes[a.group(r.URL.EscapedPath())]; mux != nil {
		mux.ServeHTTP(w, r)
		return
	}
	a.dialect.Fail(w, r, ErrNoHandler)
}

// takeOnceKey checks the Idempotency-Key of a request and stores it for the calls of the request.
func takeOnceKey(r *http.Request) error {
	keys := r.Header["Idempotency-Key"]
	if len(keys) == 0 {
		return nil
	}
	if err := idem.CheckKey(strings.Join(keys, "\n")); err != nil {
		return err
	}
	edge.Of(r.Context()).OnceKey = keys[0]
	return nil
}

// outgoing returns a context for calls that carries the request id and the rest of the request's metadata. The connection of
// each service adds the caller's identity for that service.
func outgoing(ctx context.Context) context.Context {
	q := edge.Of(ctx)
	md := metadata.MD{rpc.RequestIDKey: {q.ID}, rpc.ClientIPKey: {q.Client}}
	if q.UserAgent != "" {
		md[rpc.UserAgentKey] = []string{q.UserAgent}
	}
	if q.OnceKey != "" {
		md[rpc.IdemKey] = []string{q.OnceKey}
	}
	return metadata.NewOutgoingContext(ctx, md)
}

// onError answers the one error of the mux that is not about routing.
func (a *API) onError(_ context.Context, _ *runtime.ServeMux, _ runtime.Marshaler, w http.ResponseWriter, r *http.Request, err error) {
	if bad, ok := errors.AsType[*runtime.HTTPStatusError](err); ok && bad.HTTPStatus == http.StatusBadRequest {
		err = fault.Invalid.With("the path has a malformed escape")
	}
	a.dialect.Fail(w, r, err)
}

func (a *API) onRoutingError(_ context.Context, _ *runtime.ServeMux, _ runtime.Marshaler, w http.ResponseWriter, r *http.Request, code int) {
	if code == http.StatusMethodNotAllowed {
		w.Header().Set("Allow", strings.Join(a.allowed(r.URL.Path), ", "))
		a.dialect.Fail(w, r, ErrMethod.With("this path does not accept %s", r.Method))
		return
	}
	a.dialect.Fail(w, r, ErrNoHandler)
}

// allowed lists the methods that a path takes.
func (a *API) allowed(path string) []string {
	var methods []string
	for _, r := range a.routes {
		if !slices.Contains(methods, r.Method) && edge.Match(r.Path, path) {
			methods = append(methods, r.Method)
		}
	}
	slices.Sort(methods)
	return methods
}
