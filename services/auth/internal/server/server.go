// Package server puts the rooms of auth together into the server of all its rpcs.
package server

import (
	"context"
	"time"

	"google.golang.org/grpc"

	authpb "slipway.dev/proto/auth/v4"
	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/pkg/identity"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/auth/internal/account"
	"slipway.dev/services/auth/internal/audit"
	"slipway.dev/services/auth/internal/caller"
	"slipway.dev/services/auth/internal/credential"
	"slipway.dev/services/auth/internal/credential/kinds"
	"slipway.dev/services/auth/internal/guess"
	"slipway.dev/services/auth/internal/keyring"
	"slipway.dev/services/auth/internal/mfa"
	"slipway.dev/services/auth/internal/password"
	"slipway.dev/services/auth/internal/power"
	"slipway.dev/services/auth/internal/role"
	"slipway.dev/services/auth/internal/seal"
	"slipway.dev/services/auth/internal/setting"
	"slipway.dev/services/auth/internal/sshkey"
	"slipway.dev/services/auth/internal/user"
)

// Server answers all rpcs of auth. Each room has the methods of its noun; TokenService, UserService and TOTPService
// span several.
type Server struct {
	unimplemented
	kinds.Kinds
	*audit.Log
	*mfa.MFA
	*role.Roles
	*setting.Settings
	*sshkey.SSHKeys
	*user.Users

	db        *unit.DB
	powers    power.Powers
	passwords *password.Passwords
	ttl       time.Duration
}

// unimplemented has the methods that gRPC demands of a server. Each is embedded deeper than the same method of a
// room, so that the room's wins.
type unimplemented struct{ deeper }

type deeper struct {
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
}

// New makes the rooms, each of those below it. ttl is how long a session may be unused where token_ttl was never set;
// box seals secrets in the database; hosts is vm, nil where there is none.
func New(db *unit.DB, ring *keyring.Ring, box *seal.Box, ttl time.Duration, now func() time.Time, hosts vmpb.AccountServiceClient) (
	*Server, error,
) {
	powers := power.New()
	access := caller.New(db, powers)
	passwords, err := password.New(db, access)
	if err != nil {
		return nil, err
	}
	factors := mfa.New(db, access, passwords, box, now)
	return &Server{
		Kinds: kinds.New(kinds.Deps{
			DB: db, Powers: powers, Access: access, Passwords: passwords, MFA: factors, Ring: ring, TTL: ttl, Now: now,
		}),
		Log: audit.New(db), MFA: factors, Roles: role.New(db, access, powers, credential.EndMade), Settings: setting.New(db, ttl),
		SSHKeys: sshkey.New(db, access), Users: user.New(db, access, powers, passwords, hosts),
		db: db, powers: powers, passwords: passwords, ttl: ttl,
	}, nil
}

// Register adds all services to r.
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

// SignAdmin signs the identity of the first administrator.
func (s *Server) SignAdmin(ctx context.Context) (string, error) {
	a, err := account.FirstAdmin(ctx, s.db)
	if err != nil {
		return "", err
	}
	text, _, err := s.Sign(a.Identity(0, s.powers), identity.MaxLife)
	return text, err
}

// Clean removes credentials that ended, and counters of failed logins that no longer count.
func (s *Server) Clean(ctx context.Context) error {
	if err := guess.Clean(ctx, s.db); err != nil {
		return err
	}
	return credential.Clean(ctx, s.db, s.ttl)
}

// Hashes returns how many passwords were hashed so far, for login or to be stored.
func (s *Server) Hashes() int64 { return s.passwords.Hashes() }
