// Package setting keeps the settings of the ip service.
package setting

import (
	"strconv"
	"strings"

	"slipway.dev/pkg/fault"
)

// quarantineSeconds is the setting that says for how long a released address is not given to another owner.
const quarantineSeconds = "quarantine_seconds"

const maxQuarantine = 24 * 60 * 60

// checkName refuses the name of a setting that does not exist.
func checkName(name string) error {
	if name != quarantineSeconds {
		return fault.NotFound.With("no setting %q", fault.Clip(name))
	}
	return nil
}

// parseValue checks the new value of a setting.
func parseValue(name, value string) (string, error) {
	if err := checkName(name); err != nil {
		return "", err
	}
	n, err := strconv.Atoi(strings.TrimSpace(value))
	if err != nil || n < 0 || n > maxQuarantine {
		return "", fault.Invalid.With("a number from 0 to %d", maxQuarantine).On("value")
	}
	return strconv.Itoa(n), nil
}
