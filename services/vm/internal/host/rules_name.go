package host

import (
	"regexp"
	"strings"
	"unicode/utf8"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/hostname"
)

var (
	nameForm = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9 ._-]{0,61}[A-Za-z0-9._-])?$`)
	notLabel = regexp.MustCompile(`[^a-z0-9]+`)
)

// checkName refuses a name that is empty, longer than 63 or made of other than letters, digits, spaces, dots, dashes
// and underscores.
func checkName(name string) error {
	if !nameForm.MatchString(name) {
		return fault.Invalid.With("1 to 63 letters, digits, dots, dashes, underscores or spaces, beginning with a letter or digit").On("name")
	}
	return nil
}

// checkComment refuses a comment of more than 4096 characters.
func checkComment(comment string) error {
	if utf8.RuneCountInString(comment) > 4096 || strings.ContainsRune(comment, 0) {
		return fault.Invalid.With("at most 4096 characters, no zero byte").On("comment")
	}
	return nil
}

// ParseDomain reads the domain of a host, or the name of one of its addresses.
func ParseDomain(domain string) (string, error) {
	name, err := hostname.Parse(domain)
	if err != nil {
		return "", fault.Invalid.With("%.60q is %s", domain, err).On("domain")
	}
	return name, nil
}

// label returns a host name label for any name.
func label(name string) string {
	l := strings.Trim(notLabel.ReplaceAllString(strings.ToLower(name), "-"), "-")
	if len(l) > 63 {
		l = strings.TrimRight(l[:63], "-")
	}
	if l == "" {
		return "host"
	}
	return l
}

// hostnames returns the name of the guest and its domain: the given one, or one made from the cluster's template. What
// the template makes of a name may be no host name, because it is too long: such a host has no domain.
func hostnames(name, domain, template string) (guest, fqdn string) {
	if domain != "" {
		return hostname.Label(domain), domain
	}
	guest = label(name)
	fqdn, err := hostname.Parse(strings.ReplaceAll(template, "{name}", guest))
	if err != nil {
		return guest, ""
	}
	return guest, fqdn
}
