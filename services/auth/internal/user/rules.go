// Package user shows and changes accounts: administrators change those of others, owners their own.
package user

import (
	"slices"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/identity"
	"slipway.dev/services/auth/internal/account"
	"slipway.dev/services/auth/internal/mfa"
	"slipway.dev/services/auth/internal/role"
)

// suspended is the state of an account that may not log in.
const suspended = "suspended"

// ends says which credentials a change of an account ends.
type ends int

// Tokens with a lifetime of their own survive all but the last: they are looked up with each use, and what a customer
// built on them goes on when the account is resumed.
const (
	endsNothing ends = iota
	endsSessions
	endsTokens
)

// edit lists the changes of an account. A field that is nil stays.
type edit struct {
	roles                             []string
	email                             *string
	fullName, lang, phoneNumber, note *string
}

// checkRoles checks the names of the roles, unless there is only something else to change.
func (e *edit) checkRoles() (err error) {
	if len(e.roles) == 0 && (e.email != nil || e.fullName != nil || e.lang != nil || e.phoneNumber != nil || e.note != nil) {
		return nil
	}
	e.roles, err = role.CheckNames("roles", e.roles)
	return err
}

// apply changes an account. Whether the caller may give the roles is checked elsewhere.
func (e *edit) apply(a *account.Account) (ends, error) {
	if err := e.describe(a); err != nil {
		return endsNothing, err
	}
	if e.email != nil {
		email, err := newEmail(*e.email)
		if err != nil {
			return endsNothing, err
		}
		a.Email = email
	}
	if len(e.roles) == 0 || slices.Equal(e.roles, a.Roles) {
		return endsNothing, nil
	}
	a.Roles = e.roles
	return end(a, endsSessions), nil
}

// suspend keeps an account from logging in.
func suspend(a *account.Account) ends {
	a.State = suspended
	return end(a, endsSessions)
}

// resume lets an account log in again.
func resume(a *account.Account) ends {
	a.State = account.Active
	return endsNothing
}

// setPassword gives an account the password with this hash.
func setPassword(a *account.Account, hash string) ends {
	a.PasswordHash = hash
	return end(a, endsTokens)
}

// resetMFA removes the second factor of an account whose owner lost it. by is the account that asks.
func resetMFA(a *account.Account, by int32) (ends, error) {
	switch {
	case by == a.ID:
		return endsNothing, fault.Denied.With("removing your own second factor requires a code: DELETE /auth/v4/self/totp")
	case !a.TOTP:
		return endsNothing, mfa.ErrInactive
	}
	a.TOTP = false
	return end(a, endsSessions), nil
}

// end makes sure that a login that is under way opens no session.
func end(a *account.Account, e ends) ends {
	a.Epoch++
	return e
}

// firstRoles checks the role of a new account; the default is an ordinary user.
func firstRoles(name string) ([]string, error) {
	if name == "" {
		name = identity.RoleUser
	}
	return role.CheckNames("role", []string{name})
}
