package rdns

import (
	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/hostname"
)

// ParseName reads the name of a PTR record: a host name, or "" for no record.
func ParseName(s string) (string, error) {
	if s == "" || s == "." {
		return "", nil
	}
	name, err := hostname.Parse(s)
	if err != nil {
		return "", fault.Invalid.With("%q is %s", fault.Clip(s), err).On("domain")
	}
	return name, nil
}
