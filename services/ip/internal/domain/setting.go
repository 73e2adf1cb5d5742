package domain

import (
	"strconv"
	"strings"

	"slipway.dev/pkg/fault"
)

// QuarantineSeconds is the setting that says for how long a released address is given to nobody.
const QuarantineSeconds = "quarantine_seconds"

const maxQuarantine = 24 * 60 * 60

// CheckSettingName refuses what is no setting.
func CheckSettingName(name string) error {
	if name != QuarantineSeconds {
		return fault.NotFound.With("no setting %q", clip(name))
	}
	return nil
}

// NewSetting checks a setting's new value.
func NewSetting(name, value string) (string, error) {
	if err := CheckSettingName(name); err != nil {
		return "", err
	}
	n, err := strconv.Atoi(strings.TrimSpace(value))
	if err != nil || n < 0 || n > maxQuarantine {
		return "", fault.Invalid.With("a number from 0 to %d", maxQuarantine).On("value")
	}
	return strconv.Itoa(n), nil
}
