// Package domain holds the rules of accounts and credentials. It touches nothing but its arguments.
package domain

import (
	"net/mail"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/identity"
)

// States of an account.
const (
	Active    = "active"
	Suspended = "suspended"
)

const (
	maxEmail    = 254 // bytes; RFC 5321
	maxPassword = 128 // characters
)

// Account is somebody who may log in.
type Account struct {
	ID           int32
	Email        string
	PasswordHash string
	Roles        []string
	State        string
	AuthSource   string
	Epoch        int32 // grows when what was proven of the account before is worth nothing any more
	Revision     int32 // grows when what its identities say is true no more
	TOTP         bool  // logins need a second factor
	CreatedAt    time.Time
	Profile

	// OwnScopes and AllScopes, or patterns of them, are what its custom roles grant.
	OwnScopes, AllScopes []string
}

// Identity is what the account may claim to be.
func (a Account) Identity(session int32, p Powers) identity.Identity {
	return identity.Identity{
		AccountID: a.ID, SessionID: session, Email: a.Email, Roles: a.Roles, Revision: a.Revision,
		Grants: p.Expand(a.OwnScopes), GrantsAll: p.Expand(a.AllScopes),
	}
}

// FoldEmail gives all spellings of an address one form: "User@x", "user@x " and the full-width letters are the same
// account and share one counter of failed logins.
func FoldEmail(s string) string {
	return strings.ToLower(norm.NFKC.String(strings.TrimSpace(s)))
}

// LoginEmail checks what somebody who logs in gave as an e-mail.
func LoginEmail(s string) (string, error) {
	if len(s) > 4*maxEmail {
		return "", fault.Invalid.With("at most %d bytes", maxEmail).On("email")
	}
	email := FoldEmail(s)
	if email == "" {
		return "", fault.Invalid.With("a value is required").On("email")
	}
	return email, nil
}

// NewEmail checks the e-mail of a new account.
func NewEmail(s string) (string, error) {
	email, err := LoginEmail(s)
	if err != nil {
		return "", err
	}
	a, err := mail.ParseAddress(email)
	if err != nil || a.Name != "" || a.Address != email || len(email) > maxEmail || strings.ContainsAny(email, "\"<> ") {
		return "", fault.Invalid.With("%q is not an address such as user@example.com", clip(email)).On("email")
	}
	return email, nil
}

// CheckPassword demands a password of 1 to 128 characters. The maximum bounds the work that one request can cause.
func CheckPassword(s string) error {
	switch {
	case s == "":
		return fault.Invalid.With("a value is required").On("password")
	case utf8.RuneCountInString(s) > maxPassword:
		return fault.Invalid.With("at most %d characters", maxPassword).On("password")
	}
	return nil
}

// CheckNewPassword demands a password of so many characters, see the setting. By default any will do: billing systems make
// accounts with passwords of their own making, and what protects a short one is the limit on guesses.
func CheckNewPassword(s string, least int) error {
	if err := CheckPassword(s); err != nil {
		return err
	}
	if utf8.RuneCountInString(s) < least {
		return fault.Invalid.With("at least %d characters", least).On("password")
	}
	return nil
}

// NewRoles checks the role of a new account; the default is an ordinary user.
func NewRoles(role string) ([]string, error) {
	if role == "" {
		role = identity.RoleUser
	}
	return RoleNames("role", []string{role})
}

func clip(s string) string {
	if len(s) > 60 {
		return strings.ToValidUTF8(s[:60], "") + "…"
	}
	return s
}
