package stack

import (
	"context"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"slipway.dev/pkg/rpc"
)

// local is a connection within the process that is opened by its first call: of two services that call each other, one is
// created before the other.
type local struct {
	server  func() (*rpc.Server, error)
	connect func(*rpc.Server) grpc.ClientConnInterface

	mu   sync.Mutex
	conn grpc.ClientConnInterface
}

// Invoke implements grpc.ClientConnInterface.
func (l *local) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	conn, err := l.open()
	if err != nil {
		return err
	}
	return conn.Invoke(ctx, method, args, reply, opts...)
}

// NewStream implements grpc.ClientConnInterface.
func (l *local) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	conn, err := l.open()
	if err != nil {
		return nil, err
	}
	return conn.NewStream(ctx, desc, method, opts...)
}

func (l *local) open() (grpc.ClientConnInterface, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conn == nil {
		server, err := l.server()
		if err != nil {
			return nil, status.Error(codes.Unavailable, err.Error())
		}
		l.conn = l.connect(server)
	}
	return l.conn, nil
}
