// Package setting holds the whole numbers that administrators may change.
package setting

import (
	"strconv"
	"strings"

	"slipway.dev/pkg/fault"
)

// Name is the name of a setting.
type Name string

// Names of settings.
const (
	// tokenTTL is for how many minutes a session may be unused. Its default is the service's configuration.
	tokenTTL Name = "token_ttl"
	// sessionMaxAge is for how many minutes a session may be used at all; 0 is without end.
	sessionMaxAge Name = "session_max_age"
	// KeyTTL is for how many minutes a one-time key may be redeemed.
	KeyTTL Name = "key_ttl"
	// LoginAttemptsAccount and LoginAttemptsAddress bound the failed logins of an account and of a client's address.
	LoginAttemptsAccount Name = "login_attempts_account"
	LoginAttemptsAddress Name = "login_attempts_address"
	// LoginWindow is the minutes in which failed logins are counted together.
	LoginWindow Name = "login_window"
	// PasswordMinLength is how many characters a new password must have.
	PasswordMinLength Name = "password_min_length"
	// DeleteGivesHosts is 1 if the hosts of a deleted account go to the account that deletes it, and 0 if an account that has
	// hosts is not deleted.
	DeleteGivesHosts Name = "delete_gives_hosts"
)

// MaxPassword is the most characters that a password may have.
const MaxPassword = 128

// setting is one setting with its bounds.
type setting struct {
	name            Name
	value, min, max int // value is the default
}

const (
	year     = 525_600 // minutes
	day      = 1440
	attempts = 1_000_000
)

// settings lists all settings in the order in which they are shown.
func settings() []setting {
	return []setting{
		{tokenTTL, 60, 1, year},
		{sessionMaxAge, 0, 0, year},
		{KeyTTL, 60, 1, 60},
		{LoginAttemptsAccount, 10, 1, attempts},
		{LoginAttemptsAddress, 100, 1, attempts},
		{LoginWindow, 15, 1, day},
		{PasswordMinLength, 1, 0, MaxPassword},
		{DeleteGivesHosts, 1, 0, 1},
	}
}

// find returns the setting of this name.
func find(name string) (setting, error) {
	for _, s := range settings() {
		if string(s.name) == name {
			return s, nil
		}
	}
	return setting{}, fault.NotFound.With("no setting %q", fault.Clip(name))
}

// parse checks a value and returns it in the form in which it is stored.
func (s setting) parse(text string) (string, error) {
	n, err := strconv.Atoi(strings.TrimSpace(text))
	if err != nil || n < s.min || n > s.max {
		return "", fault.Invalid.With("%q is not a whole number from %d to %d", fault.Clip(text), s.min, s.max).On("value")
	}
	return strconv.Itoa(n), nil
}
