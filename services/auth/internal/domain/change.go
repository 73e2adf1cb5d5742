package domain

import (
	"slices"

	"google.golang.org/grpc/codes"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/identity"
)

// ErrLastAdmin keeps an installation from locking everybody out.
var ErrLastAdmin = fault.New(codes.FailedPrecondition, "LAST_ADMIN", "the last active administrator cannot lose that right")

// Ends is what a change of an account puts an end to.
type Ends int

// Tokens with a lifetime of their own survive all but the last: they are looked up with each use, and what a customer
// built on them goes on when the account is resumed.
const (
	EndsNothing Ends = iota
	EndsSessions
	EndsTokens
)

// Administers reports whether the account may change others.
func (a *Account) Administers() bool {
	return a.State == Active && slices.Contains(a.Roles, identity.RoleAdmin)
}

// Grant gives a other roles. Whether they are more than the caller may give is known when it is stored what they allow.
func (a *Account) Grant(list []string) Ends {
	if slices.Equal(list, a.Roles) {
		return EndsNothing
	}
	a.Roles = list
	return a.end(EndsSessions)
}

// Suspend shuts a out.
func (a *Account) Suspend() Ends {
	a.State = Suspended
	return a.end(EndsSessions)
}

// Resume lets a in again.
func (a *Account) Resume() Ends {
	a.State = Active
	return EndsNothing
}

// SetPassword gives a the password with this hash.
func (a *Account) SetPassword(hash string) Ends {
	a.PasswordHash = hash
	return a.end(EndsTokens)
}

// end makes sure that a login that is under way opens no session.
func (a *Account) end(e Ends) Ends {
	a.Epoch++
	return e
}
