package domain

import (
	"regexp"
	"strings"

	"slipway.dev/pkg/fault"
)

var label = regexp.MustCompile(`^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9])?$`)

// CheckDomain reads the name of a PTR record: a host name, or nothing.
func CheckDomain(s string) (string, error) {
	s = strings.ToLower(strings.TrimSuffix(strings.TrimSpace(s), "."))
	if s == "" {
		return "", nil
	}
	for l := range strings.SplitSeq(s, ".") {
		if !label.MatchString(l) || len(s) > 253 {
			return "", fault.Invalid.With("%q is not a host name", clip(s)).On("domain")
		}
	}
	return s, nil
}
