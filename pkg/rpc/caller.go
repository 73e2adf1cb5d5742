package rpc

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"

	"slipway.dev/pkg/pki"
)

// caller is the service that calls and, if that is an agent, its node. A local one is in the same process.
type caller struct {
	service, node string
	local         bool
}

type callerKey struct{}

// CallerOf returns the name of the calling service, from its certificate or local connection, or "" if it is unknown.
func CallerOf(ctx context.Context) string { return callerIn(ctx).service }

// NodeOf returns the id of the node whose agent is calling, from its certificate or local connection. It is "" if the caller is
// not an agent, or if its certificate names no node.
func NodeOf(ctx context.Context) string { return callerIn(ctx).node }

func callerIn(ctx context.Context) caller {
	c, _ := ctx.Value(callerKey{}).(caller)
	return c
}

func setCaller(ctx context.Context, c caller) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

func withCaller(c caller) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, h grpc.UnaryHandler) (any, error) {
		return h(setCaller(ctx, c), req)
	}
}

func peerCaller(ctx context.Context, req any, _ *grpc.UnaryServerInfo, h grpc.UnaryHandler) (any, error) {
	return h(setCaller(ctx, callerOfPeer(ctx)), req)
}

func peerCallerStream(srv any, ss grpc.ServerStream, _ *grpc.StreamServerInfo, h grpc.StreamHandler) error {
	return h(srv, &stream{ServerStream: ss, ctx: setCaller(ss.Context(), callerOfPeer(ss.Context()))})
}

// callerOfPeer reads the caller from the certificate of the connection.
func callerOfPeer(ctx context.Context) (c caller) {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return c
	}
	info, ok := p.AuthInfo.(credentials.TLSInfo)
	if !ok || len(info.State.VerifiedChains) == 0 || len(info.State.PeerCertificates[0].DNSNames) == 0 {
		return c
	}
	cert := info.State.PeerCertificates[0]
	c.service = cert.DNSNames[0]
	if c.service == pki.NodeService {
		c.node = pki.NodeOf(cert)
	}
	return c
}
