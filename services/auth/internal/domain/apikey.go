package domain

import (
	"crypto/rand"
	"hash/crc32"
	"math/big"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc/codes"

	"slipway.dev/pkg/fault"
)

// Faults of API keys. By the second, no key lengthens its own life or lets itself in from elsewhere.
var (
	ErrTooManyAPIKeys = fault.New(codes.FailedPrecondition, "TOO_MANY_API_KEYS", "the account has too many API keys")
	ErrByAPIKey       = fault.Denied.With("an API key cannot change API keys")
)

const (
	// MaxAPIKeys is how many API keys an account may have, those that ended and are still shown included.
	MaxAPIKeys = 100
	// APIKeyShown is how long a key stays in the lists after its end, so that its owner finds out why it is refused.
	APIKeyShown = 30 * 24 * time.Hour

	maxCIDRs  = 100
	maxScopes = 200
)

const (
	apiKeyPrefix = "slw_"
	apiKeyRandom = 43 // characters of 62 that hold 256 bits
	apiKeySum    = 6  // characters of 62 that hold 32 bits
	apiKeyHint   = len(apiKeyPrefix) + 4
)

var apiKeyForm = regexp.MustCompile(`^slw_[0-9A-Za-z]{43}_[0-9A-Za-z]{6}$`)

// APIKey is what may be shown of an API key.
type APIKey struct {
	ID, AccountID int32
	Name, Hint    string
	Limit
	ExpiresAt           *time.Time
	Expired             bool
	CreatedAt, LastUsed time.Time // the same: it was never used
	IP                  string
}

// NewAPIKey makes the value of a key. Its prefix and checksum let scanners of published code find it, and tell it from
// what only looks like it, without asking anybody.
func NewAPIKey() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails
	body := apiKeyPrefix + base62(new(big.Int).SetBytes(b[:]), apiKeyRandom)
	return body + "_" + checksum(body)
}

// Hint is how a key begins: enough to tell one's own keys apart.
func Hint(key string) string { return key[:apiKeyHint] }

// isAPIKey reports whether a value can be a key. A mistyped one is none, and costs no look-up.
func isAPIKey(value string) bool {
	cut := len(apiKeyPrefix) + apiKeyRandom
	return apiKeyForm.MatchString(value) && value[cut+1:] == checksum(value[:cut])
}

func checksum(body string) string {
	return base62(big.NewInt(int64(crc32.ChecksumIEEE([]byte(body)))), apiKeySum)
}

// base62 writes n with so many digits.
func base62(n *big.Int, digits int) string {
	const alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	text := make([]byte, digits)
	base, rest := big.NewInt(int64(len(alphabet))), new(big.Int)
	for i := range slices.Backward(text) {
		n.DivMod(n, base, rest)
		text[i] = alphabet[rest.Int64()]
	}
	return string(text)
}

// NewAPIKeyName checks the name of a key.
func NewAPIKeyName(s string) (string, error) {
	s = strings.TrimSpace(s)
	switch {
	case s == "":
		return "", fault.Invalid.With("a value is required").On("name")
	case len(s) > maxName || strings.ContainsRune(s, 0):
		return "", fault.Invalid.With("at most %d bytes of text", maxName).On("name")
	}
	return s, nil
}

// NewCIDRs reads networks, in which an address is a network of one.
func NewCIDRs(list []string) ([]netip.Prefix, error) {
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
			return nil, fault.Invalid.With("%q is not a network such as 192.0.2.0/24", clip(text)).On("cidrs")
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

// Narrow gives the key fewer scopes.
func (k *APIKey) Narrow(scopes []string) error {
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
