// Package kinds puts the kinds of credentials together.
package kinds

import (
	"time"

	"slipway.dev/pkg/unit"
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
)

// Kinds answers the rpcs of all kinds of credentials.
type Kinds struct {
	*apikey.APIKeys
	*introspect.Introspector
	*keystone.Keystone
	*loginkey.LoginKeys
	*session.Sessions
	*token.Tokens
}

// Deps is what the kinds need of the rooms below.
type Deps struct {
	DB        *unit.DB
	Powers    power.Powers
	Access    caller.Access
	Passwords *password.Passwords
	MFA       *mfa.MFA
	Ring      *keyring.Ring
	// TTL is how long a session may be unused where token_ttl was never set.
	TTL time.Duration
	Now func() time.Time
}

// New makes all kinds.
func New(d Deps) Kinds {
	access := bearer.New(d.Ring, d.Now)
	sessions := session.New(d.DB, d.Passwords, d.MFA, access, d.TTL, d.Now)
	live := introspect.New(d.DB, d.Powers, d.Ring, access, d.TTL, d.Now)
	return Kinds{
		APIKeys: apikey.New(d.DB, d.Powers, d.Now), Introspector: live, Keystone: keystone.New(d.DB, sessions, live, d.Now),
		LoginKeys: loginkey.New(d.DB, d.Access), Sessions: sessions, Tokens: token.New(d.DB, d.TTL, d.Now),
	}
}
