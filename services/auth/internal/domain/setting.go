package domain

import (
	"strconv"
	"strings"

	"slipway.dev/pkg/fault"
)

// Names of settings.
const (
	// TokenTTL is for how many minutes a session may be unused. Its default is the service's configuration.
	TokenTTL = "token_ttl"
	// SessionMaxAge is for how many minutes a session may be used at all; 0 for ever.
	SessionMaxAge = "session_max_age"
	// KeyTTL is for how many minutes a one-time key may be redeemed.
	KeyTTL = "key_ttl"
	// LoginAttemptsAccount and LoginAttemptsAddress bound the failed logins of an account and of a client's address.
	LoginAttemptsAccount = "login_attempts_account"
	LoginAttemptsAddress = "login_attempts_address"
	// LoginWindow is the minutes in which failed logins are counted together.
	LoginWindow = "login_window"
	// PasswordMinLength is how many characters a new password must have.
	PasswordMinLength = "password_min_length"
)

// Setting is a whole number that administrators may change.
type Setting struct {
	Name              string
	Default, Min, Max int
}

const (
	year     = 525_600 // minutes
	day      = 1440
	attempts = 1_000_000
)

// Settings are all that there are.
var Settings = []Setting{
	{TokenTTL, 60, 1, year},
	{SessionMaxAge, 0, 0, year},
	{KeyTTL, 60, 1, 60},
	{LoginAttemptsAccount, 10, 1, attempts},
	{LoginAttemptsAddress, 100, 1, attempts},
	{LoginWindow, 15, 1, day},
	{PasswordMinLength, 1, 0, maxPassword},
}

// SettingOf finds a setting by its name.
func SettingOf(name string) (Setting, error) {
	for _, s := range Settings {
		if s.Name == name {
			return s, nil
		}
	}
	return Setting{}, fault.NotFound.With("no setting %q", clip(name))
}

// Value checks a value and gives it the form in which it is stored.
func (s Setting) Value(text string) (string, error) {
	n, err := strconv.Atoi(strings.TrimSpace(text))
	if err != nil || n < s.Min || n > s.Max {
		return "", fault.Invalid.With("%q is not a whole number from %d to %d", clip(text), s.Min, s.Max).On("value")
	}
	return strconv.Itoa(n), nil
}
