package rest

import (
	"context"
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
)

// local calls the services that a dialect implements itself. The metadata of a call stay those of its context, so that calls of
// core services carry the caller's identity; the core services check it.
type local map[string]localMethod

type localMethod struct {
	impl    any
	handler grpc.MethodHandler
}

// RegisterService implements grpc.ServiceRegistrar.
func (l local) RegisterService(desc *grpc.ServiceDesc, impl any) {
	for _, m := range desc.Methods {
		l["/"+desc.ServiceName+"/"+m.MethodName] = localMethod{impl, m.Handler}
	}
}

// Invoke implements grpc.ClientConnInterface.
func (l local) Invoke(ctx context.Context, method string, in, out any, opts ...grpc.CallOption) error {
	m, ok := l[method]
	if !ok {
		return fmt.Errorf("rest: no method %s", method)
	}
	t := &trailers{method: method}
	resp, err := m.handler(m.impl, grpc.NewContextWithServerTransportStream(ctx, t), func(to any) error {
		proto.Merge(to.(proto.Message), in.(proto.Message))
		return nil
	}, nil)
	for _, o := range opts {
		if o, ok := o.(grpc.TrailerCallOption); ok {
			*o.TrailerAddr = t.md
		}
	}
	if err != nil {
		return err
	}
	proto.Merge(out.(proto.Message), resp.(proto.Message))
	return nil
}

// NewStream implements grpc.ClientConnInterface.
func (l local) NewStream(context.Context, *grpc.StreamDesc, string, ...grpc.CallOption) (grpc.ClientStream, error) {
	return nil, fmt.Errorf("rest: a dialect answers streams by Raw")
}

// trailers collects the trailers that a handler sets. Headers are ignored.
type trailers struct {
	method string
	md     metadata.MD
}

// Method implements grpc.ServerTransportStream.
func (t *trailers) Method() string { return t.method }

// SetHeader implements grpc.ServerTransportStream.
func (t *trailers) SetHeader(metadata.MD) error { return nil }

// SendHeader implements grpc.ServerTransportStream.
func (t *trailers) SendHeader(metadata.MD) error { return nil }

// SetTrailer implements grpc.ServerTransportStream.
func (t *trailers) SetTrailer(md metadata.MD) error {
	t.md = metadata.Join(t.md, md)
	return nil
}
