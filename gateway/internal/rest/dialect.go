// Package rest is the kit of every dialect: it serves the routes that protos declare. It decodes a request, calls the
// rpc and encodes the answer; a Dialect defines how clients spell requests and answers. The kit does not depend on
// any service.
package rest

import (
	"net/http"
	"net/url"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/reflect/protoreflect"

	querypb "slipway.dev/proto/query/v1"

	"slipway.dev/pkg/fault"

	"slipway.dev/gateway/internal/edge"
)

// Refusals of the kit itself.
var (
	ErrNoHandler = fault.New(codes.NotFound, "NO_HANDLER", "no such path")
	ErrMethod    = fault.New(codes.NotFound, "NO_METHOD", "this path does not accept this method")
)

// Dialect is one REST API: how its clients spell requests, answers and errors.
type Dialect struct {
	// Name is what files declare as rest.v1.dialect, and the name of the OpenAPI document.
	Name string
	// Prefixes of the dialect's paths; "/" for every path that no other dialect claims.
	Prefixes []string
	// Alias may stand before every path, such as "/api".
	Alias string
	// Fail writes any error as the answer.
	Fail func(http.ResponseWriter, *http.Request, error)
	// ReadError reads what Fail wrote, as clients do. It returns the reason of the fault; ok is false for a body of another shape.
	ReadError func(body []byte) (reason string, ok bool)
	// Page reads the parameters of a list; nil for a dialect without lists.
	Page        func(url.Values) (Page, error)
	Parameters  edge.Parameters
	Codec       Codec
	Credentials []edge.Credential
	Limits      edge.Limits
	Document    Document

	// Files declare services that are not in proto/all: those that the dialect implements itself, by Serve, on connections to the
	// core services.
	Files []protoreflect.FileDescriptor
	Serve func(grpc.ServiceRegistrar, Conns)
	// Raw returns the handlers of routes that are no rpc call, such as uploads and WebSockets, by the full name of their method.
	// A handler checks its caller by calling a core rpc in the request's context. Parameters of the path are its path values.
	Raw func(Conns) map[protoreflect.FullName]http.Handler
}

// Conns are the connections to the services, by the first part of the services' names, such as "vm".
type Conns map[string]grpc.ClientConnInterface

// Page is what a request wants of a list.
type Page struct {
	Query *querypb.Query // nil for all rows
	// Fields are the fields of items in the answer; none means all.
	Fields []string
	// Cursor: the answer has the cursor of the next page.
	Cursor bool
	// Explain: the answer explains how the list is read.
	Explain bool
}

// Codec is how JSON spells messages. The zero value spells them as the ispsystem dialect does.
type Codec struct {
	// JSONNames: fields are called cpuNumber, not cpu_number.
	JSONNames bool
	// Text64: numbers of 64 bits are text, as protojson writes them.
	Text64 bool
	// HideError: the text "error" is written with an escape, for clients that look for the quoted word in every answer.
	HideError bool
	// Loose: 1, "1" and "true" are true, 0, "0" and "false" are false, and [] is an empty object, as PHP clients write them.
	Loose bool
}

// Name returns how the codec spells a field.
func (c Codec) Name(fd protoreflect.FieldDescriptor) string {
	if c.JSONNames {
		return fd.JSONName()
	}
	return string(fd.Name())
}

// Document is the part of a dialect's OpenAPI document besides its routes.
type Document struct {
	Title, Version, Description string
	Servers                     []string
	// Path where the document is served.
	Path string
	// Security are the OpenAPI security schemes, in order of preference.
	Security []Scheme
	// Lists are the parameters of lists.
	Lists []Parameter
	// Repeat describes the header Idempotency-Key.
	Repeat string
	// Error returns the schema of an error.
	Error func() map[string]any
}

// Scheme is a way to send a credential, as OpenAPI describes it.
type Scheme struct {
	Name   string
	Schema map[string]any
}

// Parameter is a parameter of every list.
type Parameter struct{ Name, Description, Example string }
