package rpc

import (
	"context"
	"crypto/tls"
	"fmt"
	"sync"
	"time"

	"google.golang.org/grpc"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/pki"
)

// unusedFor is how long the connection to an endpoint that is not called any more stays open.
const unusedFor = 10 * time.Minute

// Agents keeps one connection to the agent of each node. A connection that is not used any more, because the node has
// another endpoint by now, is closed.
type Agents struct {
	tls *tls.Config
	now func() time.Time

	mu    sync.Mutex
	conns map[agent]*shared
	swept time.Time
}

// agent is the agent of a node at an endpoint.
type agent struct{ node, endpoint string }

// NewAgents returns an Agents that dials with these TLS settings.
func NewAgents(tlsConfig *tls.Config) *Agents {
	return &Agents{tls: tlsConfig, now: time.Now, conns: map[agent]*shared{}}
}

// shared is a connection to one agent. The mutex of agents guards calls and used.
type shared struct {
	*grpc.ClientConn
	agents *Agents
	calls  int
	used   time.Time
}

// Dial returns the connection to the agent of the node with this id at an endpoint, which is made when it is first needed.
// Calls fail with Unavailable if the certificate found there is of another node, or names none. An endpoint that cannot be
// dialled is fault.NotAsked.
func (d *Agents) Dial(node, endpoint string) (grpc.ClientConnInterface, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.sweep()
	key := agent{node, endpoint}
	c, ok := d.conns[key]
	if !ok {
		conn, err := Dial(endpoint, pki.NodeService, demandNode(d.tls, key))
		if err != nil {
			return nil, fault.NotAsked.Wrap(err)
		}
		c = &shared{ClientConn: conn, agents: d}
		d.conns[key] = c
	}
	c.used = d.now()
	return c, nil
}

// demandNode returns TLS settings that refuse an agent whose certificate is not of the node.
func demandNode(c *tls.Config, a agent) *tls.Config {
	c = c.Clone()
	c.VerifyConnection = func(state tls.ConnectionState) error {
		return checkNode(pki.NodeOf(state.PeerCertificates[0]), a)
	}
	return c
}

// checkNode returns an error if the node that an agent's certificate names is not the one that was dialled.
func checkNode(named string, a agent) error {
	switch named {
	case a.node:
		return nil
	case "":
		return fmt.Errorf("the certificate of the agent at %s names no node: issue one by `slipway-init node %s`", a.endpoint, a.node)
	}
	return fmt.Errorf("the certificate of the agent at %s is of node %s, not of node %s", a.endpoint, named, a.node)
}

// sweep closes what was not used for long, looking once in a while.
func (d *Agents) sweep() {
	now := d.now()
	if now.Sub(d.swept) < unusedFor/10 {
		return
	}
	d.swept = now
	for key, c := range d.conns {
		if c.calls == 0 && now.Sub(c.used) > unusedFor {
			_ = c.Close() // it reports only that it is closed already
			delete(d.conns, key)
		}
	}
}

// Close closes all connections.
func (d *Agents) Close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for key, c := range d.conns {
		_ = c.Close() // the process ends
		delete(d.conns, key)
	}
}

// Invoke makes a call, during which the connection counts as used.
func (c *shared) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	c.count(1)
	defer c.count(-1)
	return c.ClientConn.Invoke(ctx, method, args, reply, opts...)
}

// NewStream opens a stream, during which the connection counts as used.
func (c *shared) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	c.count(1)
	s, err := c.ClientConn.NewStream(ctx, desc, method, opts...)
	if err != nil {
		c.count(-1)
		return nil, err
	}
	context.AfterFunc(s.Context(), func() { c.count(-1) })
	return s, nil
}

func (c *shared) count(n int) {
	c.agents.mu.Lock()
	defer c.agents.mu.Unlock()
	c.calls += n
	c.used = c.agents.now()
}
