package rpc

import (
	"context"
	"crypto/tls"
	"sync"
	"time"

	"google.golang.org/grpc"
)

// unusedFor is how long the connection to an endpoint that is not called any more stays open.
const unusedFor = 10 * time.Minute

// Dialer keeps one connection for each endpoint of a service that has many, such as the agents of nodes. The connection to
// an endpoint that is called no more, because its node has another by now, is closed.
type Dialer struct {
	service string
	tls     *tls.Config
	now     func() time.Time

	mu    sync.Mutex
	conns map[string]*shared
	swept time.Time
}

// NewDialer returns a Dialer of the endpoints whose certificates carry the name service.
func NewDialer(service string, tlsConfig *tls.Config) *Dialer {
	return &Dialer{service: service, tls: tlsConfig, now: time.Now, conns: map[string]*shared{}}
}

// shared is a connection to one endpoint. The dialer's mutex guards calls and used.
type shared struct {
	*grpc.ClientConn
	dialer *Dialer
	calls  int
	used   time.Time
}

// Dial returns the connection to an endpoint, which is made when it is first needed.
func (d *Dialer) Dial(endpoint string) (grpc.ClientConnInterface, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.sweep()
	c, ok := d.conns[endpoint]
	if !ok {
		conn, err := Dial(endpoint, d.service, d.tls)
		if err != nil {
			return nil, err
		}
		c = &shared{ClientConn: conn, dialer: d}
		d.conns[endpoint] = c
	}
	c.used = d.now()
	return c, nil
}

// sweep closes what was not used for long, looking once in a while.
func (d *Dialer) sweep() {
	now := d.now()
	if now.Sub(d.swept) < unusedFor/10 {
		return
	}
	d.swept = now
	for endpoint, c := range d.conns {
		if c.calls == 0 && now.Sub(c.used) > unusedFor {
			_ = c.Close() // it reports only that it is closed already
			delete(d.conns, endpoint)
		}
	}
}

// Close closes all connections.
func (d *Dialer) Close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for endpoint, c := range d.conns {
		_ = c.Close() // the process ends
		delete(d.conns, endpoint)
	}
}

// Invoke makes a call, during which the connection counts as used.
func (c *shared) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	c.count(1)
	defer c.count(-1)
	return c.ClientConn.Invoke(ctx, method, args, reply, opts...)
}

func (c *shared) count(n int) {
	c.dialer.mu.Lock()
	defer c.dialer.mu.Unlock()
	c.calls += n
	c.used = c.dialer.now()
}
