package domain

import (
	"strconv"
	"strings"

	"slipway.dev/pkg/fault"
)

// TokenTTL is the setting of how many minutes a session may be unused.
const TokenTTL = "token_ttl"

// maxTokenTTL is a year.
const maxTokenTTL = 525_600

// CheckSettingName refuses a setting that does not exist.
func CheckSettingName(name string) error {
	if name != TokenTTL {
		return fault.NotFound.With("no setting %q", clip(name))
	}
	return nil
}

// NewSetting checks the value of a setting and gives it the form in which it is stored.
func NewSetting(name, value string) (string, error) {
	if err := CheckSettingName(name); err != nil {
		return "", err
	}
	n, err := strconv.Atoi(strings.TrimSpace(value))
	if err != nil || n < 1 || n > maxTokenTTL {
		return "", fault.Invalid.With("value: %q is not a number of minutes from 1 to %d", clip(value), maxTokenTTL).On("value")
	}
	return strconv.Itoa(n), nil
}
