// Package hostname is the one rule for the names of hosts: what the API takes, name servers can publish and guests can
// have.
package hostname

import (
	"errors"
	"regexp"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

const (
	// Max is the length of the longest name, in bytes, without the dot at its end (RFC 1035).
	Max = 253
	// maxInput bounds what Parse looks at. A name in another alphabet is longer than its ASCII form.
	maxInput = 4 * Max
)

// label is a part of a name: letters, digits and inner hyphens (RFC 1123). An underscore is for other records than
// those of hosts.
var label = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// toASCII maps a name as UTS 46 says: case and width are folded, other alphabets become Punycode. Two hyphens in a row
// stay allowed, because names of hosts have them.
var toASCII = idna.New(
	idna.MapForLookup(), idna.Transitional(false), idna.StrictDomainName(true), idna.CheckHyphens(false),
	idna.CheckJoiners(true), idna.BidiRule(),
)

// Errors say what is wrong with a name, and complete a sentence such as `"a.1" is …`.
var (
	errForm   = errors.New("not a host name: letters, digits and inner hyphens, with dots between the labels")
	errLength = errors.New("not a host name: longer than 253 characters, or with a label that is longer than 63")
	errNumber = errors.New("not a host name: its end is a number, like that of an address")
)

// Parse returns a name in the form in which it is stored and compared: ASCII, lower case, without the dot at its end.
func Parse(s string) (string, error) {
	s = strings.TrimSpace(s)
	if len(s) > maxInput {
		return "", errLength
	}
	name, err := toASCII.ToASCII(s)
	if err != nil || !utf8.ValidString(s) {
		return "", errForm
	}
	if name = strings.TrimSuffix(name, "."); len(name) > Max {
		return "", errLength
	}
	last := ""
	for last = range strings.SplitSeq(name, ".") {
		switch {
		case len(last) > 63:
			return "", errLength
		case !label.MatchString(last):
			return "", errForm
		}
	}
	if strings.Trim(last, "0123456789") == "" {
		return "", errNumber
	}
	return name, nil
}

// Label returns the first label of a name, which is the name of the guest itself.
func Label(name string) string {
	first, _, _ := strings.Cut(name, ".")
	return first
}
