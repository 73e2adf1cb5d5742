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

// DialFunc is how PostgreSQL's client connects.
type DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error)

// Dial makes the connections that dial opens faulty.
func (p *Plan) Dial(dial DialFunc) DialFunc {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return p.Conn(c), nil
	}
}

// Conn makes a connection faulty: each write may break it, before the bytes go out or after, when the other side acts on
// them and nobody hears the answer. A commit whose outcome is unknown is one of these. Bytes of a stream come neither twice nor in
// another order.
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

// Read hears that there is an answer, so what was asked for is done, and breaks off.
func (c *conn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if c.deaf.Load() {
		_ = c.Conn.Close()
		return 0, Err
	}
	return n, err
}

// Calls makes rpcs faulty.
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
