package rpc_test

import (
	"context"
	"crypto/ed25519"
	"log/slog"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	authpb "slipway.dev/proto/auth/v4"

	"slipway.dev/pkg/idem"
	"slipway.dev/pkg/identity"
	"slipway.dev/pkg/rpc"
)

// TestClientsComeByTheGateway checks that no service but the gateway makes calls for clients, whoever's identity it has, and that the
// identity which one service was given is of no use at another.
func TestClientsComeByTheGateway(t *testing.T) {
	t.Parallel()
	pub, priv, _ := ed25519.GenerateKey(nil)
	signer := identity.NewSigner("k", priv)
	s := rpc.NewServer(slog.New(slog.DiscardHandler), identity.NewVerifier(func(context.Context) (map[string]ed25519.PublicKey, error) {
		return map[string]ed25519.PublicKey{"k": pub}, nil
	}))
	authpb.RegisterTokenServiceServer(s, tokens{})
	authpb.RegisterUserServiceServer(s, users{})
	s.Keep(idem.New(nil))
	dial := serveTLS(t, s)
	as := func(audience string) context.Context {
		text, err := signer.Sign(identity.Identity{
			AccountID: 7, Roles: []string{identity.RoleAdmin}, Expires: time.Now().Add(time.Minute), Audience: audience,
		})
		if err != nil {
			t.Fatal(err)
		}
		return metadata.AppendToOutgoingContext(t.Context(), identity.MetadataKey, text)
	}
	const ok, denied = codes.OK, codes.PermissionDenied
	local := func(name string) grpc.ClientConnInterface { return s.Local(name) }
	for name, tt := range map[string]struct {
		conn             grpc.ClientConnInterface
		audience         string
		user, admin      codes.Code
		public, checking codes.Code
	}{
		"gateway":                             {local("gateway"), "auth", ok, ok, codes.InvalidArgument, ok},
		"gateway, mtls":                       {dial("gateway"), "auth", ok, ok, codes.InvalidArgument, ok},
		"gateway of the version before":       {dial("gateway"), "", ok, ok, codes.InvalidArgument, ok},
		"gateway, identity of another":        {dial("gateway"), "vm", denied, denied, denied, ok},
		"the process itself":                  {local("slipway"), "", ok, ok, codes.InvalidArgument, ok},
		"vm":                                  {local("vm"), "", denied, denied, denied, ok},
		"vm, mtls":                            {dial("vm"), "", denied, denied, denied, ok},
		"vm with the identity that it saw":    {dial("vm"), "vm", denied, denied, denied, ok},
		"ip with an identity for auth":        {dial("ip"), "auth", denied, denied, denied, ok},
		"a service that calls itself gateway": {local("gateway "), "auth", denied, denied, denied, ok},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := as(tt.audience)
			_, user := authpb.NewTokenServiceClient(tt.conn).Whoami(ctx, &authpb.WhoamiRequest{})
			_, admin := authpb.NewUserServiceClient(tt.conn).CreateUser(ctx, &authpb.CreateUserRequest{Role: identity.RoleAdmin})
			_, public := authpb.NewTokenServiceClient(tt.conn).CreateSession(ctx, &authpb.CreateSessionRequest{})
			_, checking := healthpb.NewHealthClient(tt.conn).Check(ctx, &healthpb.HealthCheckRequest{})
			for what, c := range map[string]struct {
				err  error
				want codes.Code
			}{"user": {user, tt.user}, "admin": {admin, tt.admin}, "public": {public, tt.public}, "health": {checking, tt.checking}} {
				if got := status.Code(c.err); got != c.want {
					t.Errorf("%s: %v, want %v", what, c.err, c.want)
				}
			}
		})
	}
}
