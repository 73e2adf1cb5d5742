// Package apikey holds API keys: credentials that may be limited to scopes and networks.
package apikey

import (
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"google.golang.org/grpc/codes"

	"slipway.dev/pkg/fault"
)

// Faults of API keys. errByKey keeps a key from lengthening its own life or admitting itself from elsewhere.
var (
	errTooMany = fault.New(codes.FailedPrecondition, "TOO_MANY_API_KEYS", "the account has too many API keys")
	errByKey   = fault.Denied.With("an API key cannot change API keys")
)

const (
	// Kind is the kind of API keys in the table of credentials.
	Kind = "apikey"

	maxKeys  = 100 // of one account, those that ended and are still shown included
	maxCIDRs = 100
	maxName  = 255
)

// apiKey is what may be shown of an API key.
type apiKey struct {
	ID, AccountID       int32
	Name, Hint          string
	Scopes              []string       // nil: not limited
	CIDRs               []netip.Prefix // none: good from anywhere
	ExpiresAt           *time.Time
	Expired             bool
	CreatedAt, LastUsed time.Time // the same: it was never used
	IP                  string
}

// newName checks the name of a key.
func newName(s string) (string, error) {
	s = strings.TrimSpace(s)
	switch {
	case s == "":
		return "", fault.Invalid.With("a value is required").On("name")
	case utf8.RuneCountInString(s) > maxName || strings.ContainsFunc(s, unicode.IsControl):
		return "", fault.Invalid.With("at most %d characters in one line", maxName).On("name")
	}
	return s, nil
}

// newCIDRs reads networks. An address is a network of one.
func newCIDRs(list []string) ([]netip.Prefix, error) {
	if len(list) > maxCIDRs {
		return nil, fault.Invalid.With("at most %d", maxCIDRs).On("cidrs")
	}
	out := []netip.Prefix{}
	for _, text := range list {
		p, err := netip.ParsePrefix(text)
		if a, addrErr := netip.ParseAddr(text); addrErr == nil && a.Zone() == "" {
			p, err = netip.PrefixFrom(a.Unmap(), a.Unmap().BitLen()), nil
		}
		if err != nil || p.Addr().Is4In6() {
			return nil, fault.Invalid.With("%q is not a network such as 192.0.2.0/24", fault.Clip(text)).On("cidrs")
		}
		if p != p.Masked() {
			return nil, fault.Invalid.With("%s has host bits set; the network is %s", text, p.Masked()).On("cidrs")
		}
		if !slices.Contains(out, p) {
			out = append(out, p)
		}
	}
	return out, nil
}

// narrow gives the key fewer scopes.
func (k *apiKey) narrow(scopes []string) error {
	if k.Scopes != nil && scopes == nil {
		return fault.Denied.With("the key is limited and its scopes cannot be widened").On("scopes")
	}
	for _, s := range scopes {
		if k.Scopes != nil && !slices.Contains(k.Scopes, s) {
			return fault.Denied.With("the key lacks %s, and its scopes cannot be widened", s).On("scopes")
		}
	}
	k.Scopes = scopes
	return nil
}
