package faulty

import (
	"bytes"
	"context"
	"net"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// DialFunc is the dial function of PostgreSQL's client.
type DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error)

// Dial returns a DialFunc whose connections are faulty.
func (p *Plan) Dial(dial DialFunc) DialFunc {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return p.Conn(c), nil
	}
}

// Conn returns a faulty connection: each write may break it, before the bytes are sent or after, when the other side acts on
// them and its answer is lost. This is how a commit gets an unknown outcome. Bytes of a stream are neither repeated nor
// reordered.
func (p *Plan) Conn(c net.Conn) net.Conn { return &conn{Conn: c, plan: p} }

type conn struct {
	net.Conn
	plan *Plan
	deaf atomic.Bool // the next answer is not heard
}

func (c *conn) Write(b []byte) (int, error) {
	if c.plan.Commits && !bytes.Contains(b, []byte("commit\x00")) {
		return c.Conn.Write(b)
	}
	f := c.plan.next(Before, After, Delay)
	if c.plan.Commits && f != None {
		f = After
	}
	switch f {
	case Before:
		_ = c.Conn.Close()
		return 0, Err
	case After:
		c.deaf.Store(true)
	}
	return c.Conn.Write(b)
}

// Read waits for the answer, which proves that the request was carried out, and then breaks the connection.
func (c *conn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if c.deaf.Load() {
		_ = c.Conn.Close()
		return 0, Err
	}
	return n, err
}

// Calls returns an interceptor that makes rpcs faulty.
func (p *Plan) Calls(next grpc.ClientConnInterface) grpc.ClientConnInterface { return calls{next, p} }

type calls struct {
	grpc.ClientConnInterface
	plan *Plan
}

func (c calls) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	f := c.plan.next(Before, After, Delay, Twice, Reorder)
	switch f {
	case Before:
		return status.Error(codes.Unavailable, Err.Error())
	case Reorder:
		c.plan.overtaken(ctx)
	}
	err := c.ClientConnInterface.Invoke(ctx, method, args, reply, opts...)
	c.plan.passed()
	switch {
	case err != nil:
		return err
	case f == After:
		return status.Error(codes.Unavailable, Err.Error())
	case f == Twice:
		return c.ClientConnInterface.Invoke(ctx, method, args, reply, opts...)
	}
	return nil
}
