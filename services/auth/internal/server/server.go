// Package server answers the rpcs of the auth service.
package server

import (
	"context"
	"time"

	"google.golang.org/grpc"

	authpb "slipway.dev/proto/auth/v4"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/identity"
	"slipway.dev/services/auth/internal/bearer"
	"slipway.dev/services/auth/internal/domain"
	"slipway.dev/services/auth/internal/keyring"
	"slipway.dev/services/auth/internal/password"
	"slipway.dev/services/auth/internal/store"
)

// Server is all services of auth.
type Server struct {
	authpb.UnimplementedTokenServiceServer
	authpb.UnimplementedUserServiceServer
	authpb.UnimplementedKeyServiceServer
	authpb.UnimplementedSettingServiceServer
	authpb.UnimplementedRoleServiceServer
	authpb.UnimplementedAuditServiceServer
	authpb.UnimplementedSelfServiceServer
	authpb.UnimplementedTOTPServiceServer
	authpb.UnimplementedSessionServiceServer
	authpb.UnimplementedAPIKeyServiceServer
	authpb.UnimplementedKeystoneServiceServer

	store     *store.Store
	passwords *password.Hasher
	ring      *keyring.Ring
	bearer    *bearer.Writer
	powers    domain.Powers
	Config
}

// Config is what may differ between installations and tests.
type Config struct {
	// TokenTTL is how long a session may be unused where the setting says nothing.
	TokenTTL time.Duration
	Now      func() time.Time
	// Sealer hides what must be read again from whoever sees the database.
	Sealer Sealer
}

// Sealer encrypts. about binds what it seals to its place: it opens there and nowhere else.
type Sealer interface {
	Seal(plain []byte, about string) []byte
	Open(sealed []byte, about string) ([]byte, error)
}

// New makes a server.
func New(s *store.Store, h *password.Hasher, r *keyring.Ring, c Config) *Server {
	return &Server{store: s, passwords: h, ring: r, bearer: bearer.New(r, c.Now), powers: domain.NewPowers(), Config: c}
}

// Register adds the services to r.
func (s *Server) Register(r grpc.ServiceRegistrar) {
	authpb.RegisterTokenServiceServer(r, s)
	authpb.RegisterUserServiceServer(r, s)
	authpb.RegisterKeyServiceServer(r, s)
	authpb.RegisterSettingServiceServer(r, s)
	authpb.RegisterRoleServiceServer(r, s)
	authpb.RegisterAuditServiceServer(r, s)
	authpb.RegisterSelfServiceServer(r, s)
	authpb.RegisterTOTPServiceServer(r, s)
	authpb.RegisterSessionServiceServer(r, s)
	authpb.RegisterAPIKeyServiceServer(r, s)
	authpb.RegisterKeystoneServiceServer(r, s)
}

// Sign signs what an account may claim to be, for at most domain.IdentityLife.
func (s *Server) Sign(a domain.Account, session int32, life time.Duration) (string, time.Time, error) {
	return s.sign(a.Identity(session, s.powers), life)
}

func (s *Server) sign(i identity.Identity, life time.Duration) (string, time.Time, error) {
	i.Issued = s.Now()
	i.Expires = i.Issued.Add(life)
	text, err := s.ring.Sign(i)
	return text, i.Expires, err
}

// caller is the account that asks. The interceptor has made sure that there is one.
func caller(ctx context.Context) (identity.Identity, error) {
	i, ok := identity.From(ctx)
	if !ok {
		return i, fault.Unauthenticated
	}
	return i, nil
}

// visible is the one account of which the caller may see; 0 is all.
func visible(ctx context.Context) (int32, error) {
	me, err := caller(ctx)
	if err != nil || me.ReachesAll() {
		return 0, err
	}
	return me.AccountID, nil
}

// Hashes is how many passwords were hashed so far, for login or to be stored.
func (s *Server) Hashes() int64 { return s.passwords.Computed() }
