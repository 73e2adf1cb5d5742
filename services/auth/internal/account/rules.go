// Package account owns accounts: what an account is, what it may claim to be, and its table.
package account

import (
	"slices"
	"strings"
	"time"

	"golang.org/x/text/unicode/norm"
	"google.golang.org/grpc/codes"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/identity"
	"slipway.dev/services/auth/internal/power"
)

// Active is the state of an account that may log in.
const Active = "active"

const maxEmail = 254 // bytes; RFC 5321

// errLastAdmin keeps an installation from having no administrator.
var errLastAdmin = fault.New(codes.FailedPrecondition, "LAST_ADMIN", "the last active administrator cannot lose that right")

// Account is a person or a program that may log in.
type Account struct {
	ID           int32
	Email        string
	PasswordHash string
	Roles        []string
	State        string
	AuthSource   string
	Epoch        int32 // grows when a login that is under way must not open a session
	Revision     int32 // grows when identities that were signed before must be refused
	TOTP         bool  // logins need a second factor
	CreatedAt    time.Time

	FullName, Lang, PhoneNumber string
	// Note is by administrators for administrators.
	Note string

	// OwnScopes and AllScopes are the scopes, or patterns of them, that its custom roles grant.
	OwnScopes, AllScopes []string
}

// Identity returns what the account may claim to be.
func (a Account) Identity(session int32, p power.Powers) identity.Identity {
	return identity.Identity{
		AccountID: a.ID, SessionID: session, Email: a.Email, Roles: a.Roles, Revision: a.Revision,
		Grants: p.Expand(a.OwnScopes), GrantsAll: p.Expand(a.AllScopes),
	}
}

// administers reports whether the account may change others.
func (a Account) administers() bool {
	return a.State == Active && slices.Contains(a.Roles, identity.RoleAdmin)
}

// FoldEmail gives all spellings of an address one form: "User@x", "user@x " and the full-width letters are the same
// account and share one counter of failed logins.
func FoldEmail(s string) string {
	return strings.ToLower(norm.NFKC.String(strings.TrimSpace(s)))
}

// ParseEmail checks the e-mail of a login and folds it.
func ParseEmail(s string) (string, error) {
	if len(s) > 4*maxEmail {
		return "", fault.Invalid.With("at most %d bytes", maxEmail).On("email")
	}
	email := FoldEmail(s)
	if email == "" {
		return "", fault.Invalid.With("a value is required").On("email")
	}
	return email, nil
}
