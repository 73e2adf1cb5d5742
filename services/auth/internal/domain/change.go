package domain

import (
	"slices"
	"strings"

	"google.golang.org/grpc/codes"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/identity"
)

// ErrLastAdmin keeps an installation from locking everybody out.
var ErrLastAdmin = fault.New(codes.FailedPrecondition, "LAST_ADMIN", "the last active administrator must stay one")

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

// Grant gives a other roles, at most those that by has.
func (a *Account) Grant(by *Account, list []string) (Ends, error) {
	list, err := newRoleList(list)
	if err != nil {
		return EndsNothing, err
	}
	for _, r := range list {
		if !by.Administers() && !slices.Contains(by.Roles, r) {
			return EndsNothing, fault.Denied.With("roles: %s is more than you have", r).On("roles")
		}
	}
	if slices.Equal(list, a.Roles) {
		return EndsNothing, nil
	}
	a.Roles = list
	return a.end(EndsSessions), nil
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

func newRoleList(list []string) ([]string, error) {
	if len(list) == 0 || len(list) > len(roles) {
		return nil, fault.Invalid.With("roles: one to %d roles are required", len(roles)).On("roles")
	}
	var out []string
	for _, r := range list {
		if !slices.Contains(roles, r) {
			return nil, fault.Invalid.With("roles: %q is not one of %s", clip(r), strings.Join(roles, ", ")).On("roles")
		}
		if !slices.Contains(out, r) {
			out = append(out, r)
		}
	}
	return out, nil
}
