// Package password proves, checks and hashes the passwords of accounts, at a price that does not depend on the
// account and that is bounded for the machine.
package password

import (
	"unicode/utf8"

	"google.golang.org/grpc/codes"

	"slipway.dev/pkg/fault"
	"slipway.dev/services/auth/internal/setting"
)

// ErrWrong is the fault of a login that failed. It does not say whether the account exists or is suspended.
var ErrWrong = fault.New(codes.Unauthenticated, "INVALID_PASSWORD", "Invalid password")

// Check demands a password of 1 to 128 characters. The maximum bounds the work that one request can cause.
func Check(s string) error {
	switch {
	case s == "":
		return fault.Invalid.With("a value is required").On("password")
	case utf8.RuneCountInString(s) > setting.MaxPassword:
		return fault.Invalid.With("at most %d characters", setting.MaxPassword).On("password")
	}
	return nil
}

// checkNew demands a password of at least so many characters, see the setting. By default one is enough: billing
// systems make accounts with passwords of their own making, and the limit on guesses protects a short one.
func checkNew(s string, least int) error {
	if err := Check(s); err != nil {
		return err
	}
	if utf8.RuneCountInString(s) < least {
		return fault.Invalid.With("at least %d characters", least).On("password")
	}
	return nil
}
