// Package rpc connects services: one server that answers over mTLS and, within the same process, by plain calls. On both ways
// the same interceptors check access, log, and convert errors to statuses.
package rpc

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"sync"
	"time"

	"github.com/fullstorydev/grpchan"
	"github.com/fullstorydev/grpchan/inprocgrpc"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"

	auditpb "slipway.dev/proto/audit/v1"

	"slipway.dev/pkg/accept"
	"slipway.dev/pkg/access"
	"slipway.dev/pkg/audit"
	"slipway.dev/pkg/idem"
	"slipway.dev/pkg/identity"
	"slipway.dev/pkg/pki"
	"slipway.dev/pkg/trace"
)

// Server carries the rpc services of one service. Register on it as on a grpc.Server, then hand it out by Local or Serve.
type Server struct {
	log      *slog.Logger
	verifier *identity.Verifier
	rules    map[string]access.Method
	checkers map[string]*accept.Checker // of the requests of methods that need one
	handlers grpchan.HandlerMap
	problems []error
	health   *health.Server
	keeper   *idem.Keeper

	ending context.Context // streams end with it
	enough context.CancelFunc

	service string // for the records of its calls
	record  func(context.Context, *auditpb.Record) error
	refused audit.Limit
	observe func(method string, code codes.Code, took time.Duration)
}

// NewServer makes a server that verifies the identity of users with verifier, which is nil if no method is for users.
func NewServer(log *slog.Logger, verifier *identity.Verifier) *Server {
	s := &Server{
		log: log, verifier: verifier, rules: map[string]access.Method{}, checkers: map[string]*accept.Checker{},
		handlers: grpchan.HandlerMap{}, health: health.NewServer(),
	}
	s.ending, s.enough = context.WithCancel(context.Background())
	s.handlers.RegisterService(&healthpb.Health_ServiceDesc, s.health)
	for _, m := range []string{"Check", "List", "Watch"} {
		s.rules["/grpc.health.v1.Health/"+m] = access.Method{Level: levelPublic}
	}
	return s
}

// RegisterService implements grpc.ServiceRegistrar. A method that does not declare its access is a problem that Check reports.
func (s *Server) RegisterService(desc *grpc.ServiceDesc, impl any) {
	rules, err := rulesOf(desc.ServiceName)
	if err != nil {
		s.problems = append(s.problems, err)
	}
	maps.Copy(s.rules, rules)
	maps.Copy(s.checkers, checkersOf(desc.ServiceName))
	s.handlers.RegisterService(desc, impl)
}

// Observe makes the server call f for every answered call, for metrics. Call Observe before the first Local or Serve.
func (s *Server) Observe(f func(method string, code codes.Code, took time.Duration)) { s.observe = f }

// Check returns an error if a registered method lacks its access rule, or an idempotent one a keeper for its answers. A service
// with such an error must not start.
func (s *Server) Check() error { return errors.Join(append(s.unkept(), s.problems...)...) }

// Local returns a connection within this process for calls by a service. It reaches all services that are registered by the
// time of its first call, so a service may take a connection to its own server while it is being built.
func (s *Server) Local(service string) grpc.ClientConnInterface {
	return s.local(caller{service: service, local: true})
}

// LocalNode returns a connection as Local does, for calls by the agent of the node with this id.
func (s *Server) LocalNode(id string) grpc.ClientConnInterface {
	return s.local(caller{service: pki.NodeService, node: id, local: true})
}

func (s *Server) local(c caller) grpc.ClientConnInterface {
	return intercepted{sync.OnceValue(func() grpc.ClientConnInterface { return s.channel(c) })}
}

func (s *Server) channel(c caller) grpc.ClientConnInterface {
	ch := (&inprocgrpc.Channel{}).WithCloner(handOver{})
	ch.WithServerUnaryInterceptor(chainUnary(withCaller(c), s.unary))
	ch.WithServerStreamInterceptor(func(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, h grpc.StreamHandler) error {
		return s.stream(srv, &stream{ServerStream: ss, ctx: setCaller(ss.Context(), c)}, info, h)
	})
	s.handlers.ForEach(ch.RegisterService)
	return ch
}

// maxAge is how long a connection lives: when clients reconnect they find new replicas, and certificates are checked again.
// Calls under way are finished.
const maxAge = time.Minute

// Serve answers on l until ctx ends; then calls under way are finished, and the contexts of streams end. tlsConfig must demand
// client certificates: the caller is the first DNS name of the certificate. A service that may call no method gets no
// connection.
func (s *Server) Serve(ctx context.Context, l net.Listener, tlsConfig *tls.Config) error {
	if err := s.Check(); err != nil {
		return err
	}
	if tlsConfig.ClientAuth != tls.RequireAndVerifyClientCert {
		return fmt.Errorf("rpc: the TLS configuration does not demand client certificates")
	}
	g := grpc.NewServer(append(trace.ServerOptions(),
		grpc.Creds(credentials.NewTLS(s.only(tlsConfig))),
		grpc.ChainUnaryInterceptor(peerCaller, s.unary),
		grpc.ChainStreamInterceptor(peerCallerStream, s.stream),
		grpc.MaxRecvMsgSize(4<<20),
		grpc.MaxConcurrentStreams(1000),
		grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionAge: maxAge}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: keepaliveTime / 2, PermitWithoutStream: true}),
	)...)
	s.handlers.ForEach(g.RegisterService)
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() { s.enough(); g.GracefulStop(); close(stopped) })
	err := g.Serve(l)
	if !stop() {
		<-stopped
		return nil
	}
	return err
}

// chainUnary makes one interceptor of two, the first outermost.
func chainUnary(first, second grpc.UnaryServerInterceptor) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, h grpc.UnaryHandler) (any, error) {
		return first(ctx, req, info, func(ctx context.Context, req any) (any, error) {
			return second(ctx, req, info, h)
		})
	}
}
