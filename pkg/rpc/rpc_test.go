package rpc_test

import (
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"reflect"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"

	authpb "slipway.dev/proto/auth/v4"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/idem"
	"slipway.dev/pkg/identity"
	"slipway.dev/pkg/pki"
	"slipway.dev/pkg/rpc"
)

// errNoLogin blames two fields and names how long to wait.
var errNoLogin = fault.Invalid.Breaks(
	fault.Violation{Field: "password", Reason: "EMPTY", Msg: "no password"}, fault.Violation{Field: "email", Msg: "no address"},
).After(5 * time.Second)

type tokens struct {
	authpb.UnimplementedTokenServiceServer
}

func (tokens) CreateSession(context.Context, *authpb.CreateSessionRequest) (*authpb.Token, error) {
	return nil, fmt.Errorf("look up: %w", errNoLogin.Wrap(errors.New("secret cause")))
}

func (tokens) Whoami(ctx context.Context, _ *authpb.WhoamiRequest) (*authpb.User, error) {
	id, _ := identity.From(ctx)
	return &authpb.User{Id: id.AccountID, Email: rpc.RequestID(ctx)}, nil
}

func (tokens) CreateToken(context.Context, *authpb.CreateTokenRequest) (*authpb.Token, error) {
	panic("secret panic")
}

func (tokens) Introspect(ctx context.Context, _ *authpb.IntrospectRequest) (*authpb.IntrospectResponse, error) {
	return &authpb.IntrospectResponse{Identity: rpc.CallerOf(ctx)}, nil
}

type users struct {
	authpb.UnimplementedUserServiceServer
}

func (users) ListUsers(context.Context, *authpb.ListUsersRequest) (*authpb.ListUsersResponse, error) {
	return &authpb.ListUsersResponse{}, nil
}

func (users) CreateUser(context.Context, *authpb.CreateUserRequest) (*authpb.CreateUserResponse, error) {
	return &authpb.CreateUserResponse{Id: 1}, nil
}

// TestCalls makes the same calls in the process and over mTLS, and checks access rules and answers.
func TestCalls(t *testing.T) {
	t.Parallel()
	pub, priv, _ := ed25519.GenerateKey(nil)
	signer := identity.NewSigner("k", priv)
	verifier := identity.NewVerifier(func(context.Context) (map[string]ed25519.PublicKey, error) {
		return map[string]ed25519.PublicKey{"k": pub}, nil
	})
	s := rpc.NewServer(slog.New(slog.DiscardHandler), verifier)
	authpb.RegisterTokenServiceServer(s, tokens{})
	authpb.RegisterUserServiceServer(s, users{})
	if err := s.Check(); err == nil || !strings.Contains(err.Error(), "CreateUser") {
		t.Errorf("a server that keeps no answers starts: %v", err)
	}
	s.Keep(idem.New(nil))
	if err := s.Check(); err != nil {
		t.Fatal(err)
	}
	dial := serveTLS(t, s)

	for name, conn := range map[string]func(caller string) grpc.ClientConnInterface{"local": s.Local, "mtls": dial} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			gw := authpb.NewTokenServiceClient(conn("gateway"))
			as := func(roles ...string) context.Context {
				text, _ := signer.Sign(identity.Identity{AccountID: 7, Roles: roles, Expires: time.Now().Add(time.Minute)})
				return metadata.AppendToOutgoingContext(t.Context(), identity.MetadataKey, text, rpc.RequestIDKey, "r1")
			}
			_, err := gw.CreateSession(t.Context(), &authpb.CreateSessionRequest{})
			if f, ok := fault.From(err); !ok || !reflect.DeepEqual(f, errNoLogin) {
				t.Errorf("fault came back as %v", err)
			}
			if strings.Contains(fmt.Sprint(err), "secret") {
				t.Errorf("the cause left the service: %v", err)
			}
			u, err := gw.Whoami(as(identity.RoleUser), &authpb.WhoamiRequest{})
			if err != nil || u.GetId() != 7 || u.GetEmail() != "r1" {
				t.Errorf("whoami: %v %v", u, err)
			}
			_, err = gw.CreateToken(as(identity.RoleUser), &authpb.CreateTokenRequest{})
			if status.Code(err) != codes.Internal || strings.Contains(err.Error(), "secret") {
				t.Errorf("panic came back as %v", err)
			}
			list := func(ctx context.Context) error {
				_, err := authpb.NewUserServiceClient(conn("gateway")).ListUsers(ctx, &authpb.ListUsersRequest{})
				return err
			}
			create := func(ctx context.Context) error {
				_, err := authpb.NewUserServiceClient(conn("gateway")).CreateUser(ctx, &authpb.CreateUserRequest{})
				return err
			}
			if f, ok := fault.From(list(as(identity.RoleUser))); !ok || f.Scope != "users.read" {
				t.Errorf("a refusal names the scope %q of %v", f.Scope, f)
			}
			for what, tt := range map[string]struct {
				err  error
				want codes.Code
			}{
				"anonymous lists":          {list(t.Context()), codes.Unauthenticated},
				"forged lists":             {list(metadata.AppendToOutgoingContext(t.Context(), identity.MetadataKey, "k.e30.AAAA")), codes.Unauthenticated},
				"user lists":               {list(as(identity.RoleUser)), codes.PermissionDenied},
				"readonly admin lists":     {list(as(identity.RoleReadOnlyAdmin)), codes.OK},
				"admin lists":              {list(as(identity.RoleAdmin)), codes.OK},
				"readonly admin creates":   {create(as(identity.RoleReadOnlyAdmin)), codes.PermissionDenied},
				"readonly user-admin adds": {create(as(identity.RoleReadOnlyAdmin, identity.RoleUser)), codes.PermissionDenied},
				"admin creates":            {create(as(identity.RoleAdmin)), codes.OK},
			} {
				if got := status.Code(tt.err); got != tt.want {
					t.Errorf("%s: %v, want %v", what, got, tt.want)
				}
			}
			in, err := gw.Introspect(t.Context(), &authpb.IntrospectRequest{})
			if err != nil || in.GetIdentity() != "gateway" {
				t.Errorf("gateway introspects: %v %v", in, err)
			}
			_, err = authpb.NewTokenServiceClient(conn("ip")).Introspect(as(identity.RoleAdmin), &authpb.IntrospectRequest{})
			if status.Code(err) != codes.PermissionDenied {
				t.Errorf("ip introspects: %v", err)
			}
		})
	}
}

// serveTLS serves s on a loopback port and returns a dialler for callers with certificates of the same authority.
func serveTLS(t *testing.T, s *rpc.Server) func(caller string) grpc.ClientConnInterface {
	t.Helper()
	ca, err := pki.NewAuthority("test")
	if err != nil {
		t.Fatal(err)
	}
	issue := func(ca *pki.Authority, name string) tls.Certificate {
		c, err := ca.Issue(name, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l, ca.Config(issue(ca, "auth"))) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	dial := func(service string, c *tls.Config) grpc.ClientConnInterface {
		conn, err := rpc.Dial(l.Addr().String(), service, c)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		return conn
	}
	other, _ := pki.NewAuthority("other")
	for name, conn := range map[string]grpc.ClientConnInterface{
		"certificate of another authority": dial("auth", func() *tls.Config {
			c := ca.Config(issue(other, "gateway"))
			return c
		}()),
		"server is not who it should be": dial("vm", ca.Config(issue(ca, "gateway"))),
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		_, err := authpb.NewTokenServiceClient(conn).Introspect(ctx, &authpb.IntrospectRequest{})
		cancel()
		if c := status.Code(err); c != codes.Unavailable && c != codes.DeadlineExceeded {
			t.Errorf("%s: %v", name, err)
		}
	}
	return func(caller string) grpc.ClientConnInterface { return dial("auth", ca.Config(issue(ca, caller))) }
}

func TestMethodWithoutRuleStopsTheStart(t *testing.T) {
	t.Parallel()
	s := rpc.NewServer(slog.New(slog.DiscardHandler), nil)
	// A service whose descriptor has methods without our option: gRPC's own reflection, registered like one of ours.
	reflectionpb.RegisterServerReflectionServer(s, reflectionpb.UnimplementedServerReflectionServer{})
	if err := s.Check(); err == nil || !strings.Contains(err.Error(), "ServerReflectionInfo") {
		t.Errorf("Check: %v", err)
	}
	if err := s.Serve(t.Context(), nil, nil); err == nil {
		t.Error("Serve started a service whose methods declare no access")
	}
}
