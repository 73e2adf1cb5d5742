// Package seal encrypts what the database has to keep but must not know.
package seal

import (
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/chacha20poly1305"
)

// KeySize is how many random bytes a master key has.
const KeySize = chacha20poly1305.KeySize

const (
	version = 1
	idSize  = 4
)

// header is the version and the id of the master key, which stand before the nonce and the text.
const header = 1 + idSize

// Errors of what cannot be opened.
var (
	ErrUnknownKey = errors.New("sealed with a master key that is not among those given")
	ErrForged     = errors.New("not what was sealed: it was changed, or belongs elsewhere")
)

// Box seals with one master key and opens what any of its keys has sealed.
type Box struct {
	newest [idSize]byte
	keys   map[[idSize]byte]cipher.AEAD
}

// New makes a box. The first key seals; all of them open.
func New(keys ...[]byte) (*Box, error) {
	if len(keys) == 0 {
		return nil, errors.New("seal: no master key")
	}
	b := &Box{newest: idOf(keys[0]), keys: map[[idSize]byte]cipher.AEAD{}}
	for i, k := range keys {
		aead, err := chacha20poly1305.NewX(k)
		if err != nil {
			return nil, fmt.Errorf("seal: master key %d: %d bytes, want %d", i+1, len(k), KeySize)
		}
		b.keys[idOf(k)] = aead
	}
	return b, nil
}

// Parse makes a box of master keys in base64, with spaces, commas or line ends between them. The first seals.
func Parse(text string) (*Box, error) {
	var keys [][]byte
	for i, f := range strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(", \t\r\n", r) }) {
		k, err := base64.StdEncoding.DecodeString(f)
		if err != nil {
			return nil, fmt.Errorf("seal: master key %d is not base64", i+1) // and not what it is instead
		}
		keys = append(keys, k)
	}
	return New(keys...)
}

// NewKey makes a master key in the form that Parse reads.
func NewKey() string {
	var k [KeySize]byte
	_, _ = rand.Read(k[:]) // never fails
	return base64.StdEncoding.EncodeToString(k[:])
}

// Seal encrypts plain. about names the place where it will be kept, such as table and row: it opens at no other.
func (b *Box) Seal(plain []byte, about string) []byte {
	aead := b.keys[b.newest]
	out := make([]byte, header+aead.NonceSize(), header+aead.NonceSize()+len(plain)+aead.Overhead())
	out[0] = version
	copy(out[1:], b.newest[:])
	_, _ = rand.Read(out[header:])                                         // never fails
	return aead.Seal(out, out[header:], plain, bound(out[:header], about)) // #nosec G407 -- drawn one line above
}

// Open decrypts what was sealed about the same place.
func (b *Box) Open(sealed []byte, about string) ([]byte, error) {
	if len(sealed) < header || sealed[0] != version {
		return nil, ErrForged
	}
	aead, ok := b.keys[[idSize]byte(sealed[1:header])]
	if !ok {
		return nil, fmt.Errorf("%w (id %s)", ErrUnknownKey, hex.EncodeToString(sealed[1:header]))
	}
	if len(sealed) < header+aead.NonceSize()+aead.Overhead() {
		return nil, ErrForged
	}
	nonce, text := sealed[header:header+aead.NonceSize()], sealed[header+aead.NonceSize():]
	plain, err := aead.Open(nil, nonce, text, bound(sealed[:header], about))
	if err != nil {
		return nil, ErrForged
	}
	return plain, nil
}

// Stale reports whether an older master key has sealed this: it should be sealed anew, so that the older key can go.
func (b *Box) Stale(sealed []byte) bool {
	return len(sealed) < header || [idSize]byte(sealed[1:header]) != b.newest
}

// bound is what is authenticated besides the text.
func bound(head []byte, about string) []byte { return append(head[:len(head):len(head)], about...) }

// idOf returns an id of a key, which reveals nothing about the key.
func idOf(key []byte) [idSize]byte {
	sum := sha256.Sum256(append([]byte("slipway master key "), key...))
	return [idSize]byte(sum[:idSize])
}
