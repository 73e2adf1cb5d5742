package rdns

import (
	"regexp"
	"strings"

	"slipway.dev/pkg/fault"
	"slipway.dev/services/ip/internal/message"
)

var label = regexp.MustCompile(`^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9])?$`)

// ParseName reads the name of a PTR record: a host name, or "" for no record.
func ParseName(s string) (string, error) {
	s = strings.ToLower(strings.TrimSuffix(strings.TrimSpace(s), "."))
	if s == "" {
		return "", nil
	}
	for l := range strings.SplitSeq(s, ".") {
		if !label.MatchString(l) || len(s) > 253 {
			return "", fault.Invalid.With("%q is not a host name", message.Clip(s)).On("domain")
		}
	}
	return s, nil
}
