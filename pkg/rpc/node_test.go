package rpc_test

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	nodepb "slipway.dev/proto/node/v1"
	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/pkg/pki"
	"slipway.dev/pkg/rpc"
)

// authority issues TLS settings for tests.
type authority struct {
	*testing.T
	*pki.Authority
}

func newAuthority(t *testing.T) authority {
	t.Helper()
	ca, err := pki.NewAuthority("test")
	if err != nil {
		t.Fatal(err)
	}
	return authority{t, ca}
}

func (a authority) settings(service string, uris ...*url.URL) *tls.Config {
	a.Helper()
	c, err := a.Issue(service, time.Hour, uris...)
	if err != nil {
		a.Fatal(err)
	}
	return a.Config(c)
}

// witness answers RegisterNode with the node that the caller's certificate names.
type witness struct {
	vmpb.UnimplementedNodeServiceServer
	named chan string
}

func (w witness) RegisterNode(ctx context.Context, _ *vmpb.RegisterNodeRequest) (*vmpb.RegisterNodeResponse, error) {
	w.named <- rpc.NodeOf(ctx)
	return &vmpb.RegisterNodeResponse{}, nil
}

// TestNodeOf: a handler learns which node's agent calls, over a connection and in the same process.
func TestNodeOf(t *testing.T) {
	t.Parallel()
	ca, id := newAuthority(t), uuid.New()
	w := witness{named: make(chan string, 1)}
	s := rpc.NewServer(slog.New(slog.DiscardHandler), nil)
	vmpb.RegisterNodeServiceServer(s, w)
	addr := serve(t, s, ca.settings("vm"))
	dial := func(uris ...*url.URL) grpc.ClientConnInterface {
		conn, err := rpc.Dial(addr, "vm", ca.settings("node", uris...))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		return conn
	}
	for name, tt := range map[string]struct {
		conn grpc.ClientConnInterface
		want string
	}{
		"a certificate that names the node": {dial(pki.NodeURI(id)), id.String()},
		"a nameless certificate":            {dial(), ""},
		"in this process":                   {s.LocalNode(id.String()), id.String()},
		"in this process, nameless":         {s.Local("node"), ""},
	} {
		if _, err := vmpb.NewNodeServiceClient(tt.conn).RegisterNode(t.Context(), &vmpb.RegisterNodeRequest{}); err != nil {
			t.Errorf("%s: %v", name, err)
		} else if got := <-w.named; got != tt.want {
			t.Errorf("%s: node %q, want %q", name, got, tt.want)
		}
	}
}

// idle is an agent without machines.
type idle struct {
	nodepb.UnimplementedNodeServiceServer
}

func (idle) ListMachines(context.Context, *nodepb.ListMachinesRequest) (*nodepb.ListMachinesResponse, error) {
	return &nodepb.ListMachinesResponse{}, nil
}

// TestAgentsAreTheirNodes: a dialler that finds the agent of another node at an endpoint, or one without a node, sends it
// nothing.
func TestAgentsAreTheirNodes(t *testing.T) {
	t.Parallel()
	ca, a, b := newAuthority(t), uuid.New(), uuid.New()
	agent := func(uris ...*url.URL) string {
		s := rpc.NewServer(slog.New(slog.DiscardHandler), nil)
		nodepb.RegisterNodeServiceServer(s, idle{})
		return serve(t, s, ca.settings("node", uris...))
	}
	named, nameless := agent(pki.NodeURI(a)), agent()
	agents := rpc.NewAgents(ca.settings("vm"))
	defer agents.Close()
	for name, tt := range map[string]struct {
		node     uuid.UUID
		endpoint string
		code     codes.Code
		says     string
	}{
		"the agent of the node":       {a, named, codes.OK, ""},
		"the agent of another node":   {b, named, codes.Unavailable, "is of node " + a.String() + ", not of node " + b.String()},
		"an agent that names no node": {b, nameless, codes.Unavailable, "slipway-init node " + b.String()},
	} {
		conn, err := agents.Dial(tt.node.String(), tt.endpoint)
		if err != nil {
			t.Fatal(err)
		}
		_, err = nodepb.NewNodeServiceClient(conn).ListMachines(t.Context(), &nodepb.ListMachinesRequest{})
		if status.Code(err) != tt.code || !strings.Contains(status.Convert(err).Message(), tt.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
