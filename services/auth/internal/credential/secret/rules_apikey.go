package secret

import (
	"crypto/rand"
	"hash/crc32"
	"math/big"
	"regexp"
	"slices"
)

const (
	apiKeyPrefix = "slw_"
	apiKeyRandom = 43 // characters of 62 that hold 256 bits
	apiKeySum    = 6  // characters of 62 that hold 32 bits
	apiKeyHint   = len(apiKeyPrefix) + 4
)

var apiKeyForm = regexp.MustCompile(`^slw_[0-9A-Za-z]{43}_[0-9A-Za-z]{6}$`)

// NewAPIKey makes the value of an API key. By its prefix and checksum, scanners of published code find a key, and
// know it from a text that only looks like one, without a look-up.
func NewAPIKey() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails
	body := apiKeyPrefix + base62(new(big.Int).SetBytes(b[:]), apiKeyRandom)
	return body + "_" + checksum(body)
}

// Hint returns how an API key begins: enough for its owner to recognise it.
func Hint(key string) string { return key[:apiKeyHint] }

// isAPIKey reports whether a value can be an API key. A mistyped one is none, and costs no look-up.
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
