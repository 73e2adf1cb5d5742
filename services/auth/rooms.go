package auth

import (
	"time"

	"google.golang.org/grpc"

	authpb "slipway.dev/proto/auth/v4"

	"slipway.dev/pkg/unit"
	"slipway.dev/services/auth/internal/audit"
	"slipway.dev/services/auth/internal/bearer"
	"slipway.dev/services/auth/internal/caller"
	"slipway.dev/services/auth/internal/credential/apikey"
	"slipway.dev/services/auth/internal/credential/introspect"
	"slipway.dev/services/auth/internal/credential/keystone"
	"slipway.dev/services/auth/internal/credential/loginkey"
	"slipway.dev/services/auth/internal/credential/session"
	"slipway.dev/services/auth/internal/credential/token"
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

// rooms answers all rpcs of auth. Each room has the methods of its noun; TokenService, UserService and TOTPService span several.
type rooms struct {
	unimplemented
	*audit.Log
	*apikey.APIKeys
	*introspect.Introspector
	*keystone.Keystone
	*loginkey.LoginKeys
	*mfa.MFA
	*role.Roles
	*session.Sessions
	*setting.Settings
	*sshkey.SSHKeys
	*token.Tokens
	*user.Users

	powers    power.Powers
	passwords *password.Passwords
}

// unimplemented has the methods that gRPC demands of a server. It is embedded one level deeper than the rooms, so that the
// methods of the rooms win.
type unimplemented struct {
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

// newRooms makes the rooms, each of those below it. ttl is how long a session may be unused where token_ttl was never set.
func newRooms(db *unit.DB, ring *keyring.Ring, box *seal.Box, ttl time.Duration, now func() time.Time) (*rooms, error) {
	powers := power.New()
	access := caller.New(db, powers)
	passwords, err := password.New(db, access)
	if err != nil {
		return nil, err
	}
	tokens := bearer.New(ring, now)
	factors := mfa.New(db, access, passwords, box, now)
	sessions := session.New(db, passwords, factors, tokens, ttl, now)
	live := introspect.New(db, powers, ring, tokens, ttl, now)
	return &rooms{
		Log: audit.New(db), APIKeys: apikey.New(db, powers, now), Introspector: live,
		Keystone: keystone.New(db, sessions, live, now), LoginKeys: loginkey.New(db, access), MFA: factors,
		Roles: role.New(db, access, powers), Sessions: sessions, Settings: setting.New(db, ttl),
		SSHKeys: sshkey.New(db, access), Tokens: token.New(db, ttl, now), Users: user.New(db, access, powers, passwords),
		powers: powers, passwords: passwords,
	}, nil
}

// register adds all services to r.
func (s *rooms) register(r grpc.ServiceRegistrar) {
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
