package rest

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strconv"
	"strings"

	"google.golang.org/genproto/googleapis/api/httpbody"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	accesspb "slipway.dev/proto/access/v1"

	"slipway.dev/pkg/access"
	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/query"

	"slipway.dev/gateway/internal/edge"
)

// call serves one route by one rpc.
type call struct {
	Route
	api     *API
	conn    grpc.ClientConnInterface
	name    string // of the rpc, such as "/vm.v3.HostService/GetHost"
	status  int
	params  map[string]protoreflect.FieldDescriptor // of the path
	query   protoreflect.FieldDescriptor            // of a list
	whole   bool                                    // a list without a query
	in, out protoreflect.MessageType
	plan    *plan // of the answer; nil for a body that is no JSON
	raw     http.Handler
	repeats bool // it declares what a repeat with the same Idempotency-Key does
	public  bool // it accepts callers without a credential
	changes bool // it may change something
}

// call prepares a route. It finds every mistake in the route when the gateway starts.
func (a *API) call(r Route, own local, conns Conns) (*call, error) {
	c := &call{
		Route: r, api: a, status: r.Status(), name: fmt.Sprintf("/%s/%s", r.RPC.Parent().FullName(), r.RPC.Name()),
		params: map[string]protoreflect.FieldDescriptor{}, raw: a.raw[r.RPC.FullName()],
		repeats: access.Of(r.RPC).GetRepeat() != accesspb.Repeat_REPEAT_UNSPECIFIED, public: r.public(),
		changes: r.Method != http.MethodGet || access.RestOf(r.RPC).GetActs(),
	}
	service, _, _ := strings.Cut(string(r.RPC.FullName()), ".")
	if _, ok := own[c.name]; ok {
		if c.conn = own; access.Of(r.RPC) == nil {
			return nil, fmt.Errorf("%s names no core rpc whose scope counts", r.RPC.FullName())
		}
	} else if c.conn = conns[service]; c.conn == nil && c.raw == nil {
		return nil, fmt.Errorf("no connection to the service %q", service)
	}
	for _, name := range r.Params() {
		fd := r.RPC.Input().Fields().ByName(protoreflect.Name(name))
		if fd == nil || fd.Message() != nil || fd.IsList() {
			return nil, fmt.Errorf("%s is no field that a path can fill", name)
		}
		c.params[name] = fd
	}
	c.whole = r.isWhole() && a.dialect.Page != nil
	if r.Lists() {
		if c.query = queryOf(r.RPC.Input()); a.dialect.Page == nil {
			return nil, fmt.Errorf("the dialect has no lists")
		}
	}
	return c, c.types(a.dialect.Codec)
}

func (c *call) types(codec Codec) (err error) {
	if c.in, err = protoregistry.GlobalTypes.FindMessageByName(c.RPC.Input().FullName()); err != nil {
		return err
	}
	if c.out, err = protoregistry.GlobalTypes.FindMessageByName(c.RPC.Output().FullName()); err != nil {
		return err
	}
	if c.RPC.Output().FullName() == bodyMessage {
		return nil
	}
	if c.plan, err = newPlan(codec, c.RPC.Output(), reflect.TypeOf(c.out.Zero().Interface())); err != nil {
		return err
	}
	c.plan, err = c.plan.brief(c.Brief())
	return err
}

var bodyMessage = (*httpbody.HttpBody)(nil).ProtoReflect().Descriptor().FullName()

// serve answers a request. It refuses a caller without a credential before it reads anything of the request.
func (c *call) serve(w http.ResponseWriter, r *http.Request, path map[string]string) {
	if !c.public && !edge.Of(r.Context()).Known {
		c.api.dialect.Fail(w, r, fault.Unauthenticated)
		return
	}
	if c.changes {
		if err := c.api.rates.take(edge.Of(r.Context())); err != nil {
			c.api.dialect.Fail(w, r, err)
			return
		}
	}
	if c.raw != nil {
		for name, value := range path {
			r.SetPathValue(name, value)
		}
		c.raw.ServeHTTP(w, r.WithContext(outgoing(r.Context())))
		return
	}
	in := c.in.New()
	page, err := c.read(r, in, path)
	if err == nil && c.repeats {
		err = takeOnceKey(r)
	}
	if err != nil {
		c.api.dialect.Fail(w, r, err)
		return
	}
	if c.query != nil {
		if wantsLines(r) {
			c.export(w, r, in, page)
		} else {
			c.list(w, r, in, page, false)
		}
		return
	}
	out, trailer, err := c.invoke(r.Context(), in.Interface())
	if err != nil {
		c.api.dialect.Fail(w, r, err)
		return
	}
	if c.whole && page.Query != nil {
		cut(out, page)
	}
	c.write(w, out, page, trailer)
}

// read fills the message of a request from its body, its query and its path. Values of the path take precedence.
func (c *call) read(r *http.Request, in protoreflect.Message, path map[string]string) (page Page, err error) {
	switch {
	case c.Body && r.Body != nil && r.Body != http.NoBody:
		err = c.body(r, in.Interface())
	case !c.Body:
		page, err = c.parameters(r.Form, in)
	}
	if err != nil {
		return page, err
	}
	if !c.Body && r.Body != nil && r.Body != http.NoBody {
		_, _ = io.Copy(io.Discard, r.Body) // so that the connection can be used again
	}
	for name, text := range path {
		if err := setScalar(in, c.params[name], text, " in the path"); err != nil {
			return page, err
		}
	}
	return page, nil
}

// body fills a message from the body of a request.
func (c *call) body(r *http.Request, in proto.Message) error {
	q := edge.Of(r.Context())
	data, free, err := c.api.room.read(r, q.MaxBody)
	if err != nil {
		return err
	}
	defer free()
	return c.api.dialect.Codec.decode(data, in, q)
}

func (c *call) invoke(ctx context.Context, in proto.Message) (proto.Message, metadata.MD, error) {
	out := c.out.New().Interface()
	if c.query == nil {
		return out, nil, c.conn.Invoke(outgoing(ctx), c.name, in, out)
	}
	var trailer metadata.MD
	err := c.conn.Invoke(outgoing(ctx), c.name, in, out, grpc.Trailer(&trailer))
	return out, trailer, err
}

func (c *call) write(w http.ResponseWriter, out proto.Message, page Page, trailer metadata.MD) {
	h := w.Header()
	if c.plan == nil {
		c.writeRaw(w, out)
		return
	}
	text := buffers.Get().(*[]byte)
	s := shape{Page: page, next: last(trailer, query.NextKey), explain: last(trailer, query.ExplainKey)}
	*text = c.plan.answer((*text)[:0], out, s)
	h["Content-Type"] = jsonType
	h["Content-Length"] = []string{strconv.Itoa(len(*text))}
	w.WriteHeader(c.status)
	_, _ = w.Write(*text) // an error means that the client went away
	if cap(*text) <= maxBuffer {
		buffers.Put(text)
	}
}

// jsonType is shared by all answers; a header is replaced, never changed in place.
var jsonType = []string{"application/json"}

// writeRaw writes a body that a service made. Text is sent with its own content type, never as HTML.
func (c *call) writeRaw(w http.ResponseWriter, out proto.Message) {
	body, ok := out.(*httpbody.HttpBody)
	if !ok {
		return
	}
	kind := body.GetContentType()
	switch {
	case kind == "":
		kind = "application/octet-stream"
	case strings.HasPrefix(kind, "text/") && !strings.Contains(kind, "charset"):
		kind += "; charset=utf-8"
	}
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Content-Length", strconv.Itoa(len(body.GetData())))
	w.WriteHeader(c.status)
	_, _ = w.Write(body.GetData()) // an error means that the client went away
}

func last(md metadata.MD, key string) string {
	return strings.Join(md.Get(key), "")
}
