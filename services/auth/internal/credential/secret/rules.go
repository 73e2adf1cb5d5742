// Package secret makes the values of credentials and hashes them.
package secret

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"strconv"

	"slipway.dev/pkg/identity"
)

// NewToken makes the value of a token: the id of its account and 256 random bits.
func NewToken(account int32) string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails
	return strconv.Itoa(int(account)) + "-" + hex.EncodeToString(b[:])
}

var tokenForm = regexp.MustCompile(`^[0-9]{1,10}-[0-9a-f]{64}$`)

// Hash returns what is stored of a token or an API key. A plain hash is enough: 256 random bits cannot be guessed. A
// value of another form is refused as an unknown one is.
func Hash(value string) ([]byte, error) {
	if !tokenForm.MatchString(value) && !isAPIKey(value) {
		return nil, identity.ErrInvalid
	}
	sum := sha256.Sum256([]byte(value))
	return sum[:], nil
}
