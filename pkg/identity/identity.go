// Package identity says who asks. auth signs an identity for each live token; every service verifies it for itself, so
// that being inside the network gives no rights.
package identity

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"slipway.dev/pkg/fault"
)

// Role names of the dialects.
const (
	RoleAdmin         = "@admin"
	RoleAdvancedUser  = "@advanced_user"
	RoleUser          = "@user"
	RoleReadOnlyAdmin = "@admin.readonly"
)

// MetadataKey carries the signed identity from the gateway to the services.
const MetadataKey = "slipway-identity"

// ErrInvalid refuses an identity that is forged, foreign or over.
var ErrInvalid = fault.Unauthenticated.With("the token is unknown or expired")

// Identity is an account as it was when its token was looked at.
type Identity struct {
	AccountID int32     `json:"sub"`
	SessionID int32     `json:"sid"`
	Email     string    `json:"email"`
	Roles     []string  `json:"roles"`
	Expires   time.Time `json:"exp"`
}

// Admin reports whether the account may do everything.
func (i Identity) Admin() bool { return slices.Contains(i.Roles, RoleAdmin) }

// ReadsAll reports whether the account may see everything.
func (i Identity) ReadsAll() bool { return i.Admin() || i.ReadOnly() }

// ReadOnly reports whether the account may look but not touch.
func (i Identity) ReadOnly() bool { return !i.Admin() && slices.Contains(i.Roles, RoleReadOnlyAdmin) }

// Signer signs identities with one key. It belongs to auth alone.
type Signer struct {
	id  string
	key ed25519.PrivateKey
}

// NewSigner makes a signer; id names the key to verifiers.
func NewSigner(id string, key ed25519.PrivateKey) *Signer { return &Signer{id: id, key: key} }

// Sign renders "key.payload.signature", the parts in base64url.
func (s *Signer) Sign(i Identity) (string, error) {
	payload, err := json.Marshal(i)
	if err != nil {
		return "", err
	}
	text := s.id + "." + base64.RawURLEncoding.EncodeToString(payload)
	return text + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(s.key, []byte(text))), nil
}

// open checks the signature of text and reads the identity. The key is found by its id.
func open(text string, key func(id string) ed25519.PublicKey) (Identity, error) {
	var i Identity
	cut := strings.LastIndexByte(text, '.')
	if cut < 0 {
		return i, ErrInvalid
	}
	id, payload, ok := strings.Cut(text[:cut], ".")
	if !ok {
		return i, ErrInvalid
	}
	pub := key(id)
	sig, err := base64.RawURLEncoding.DecodeString(text[cut+1:])
	if err != nil || len(pub) != ed25519.PublicKeySize || !ed25519.Verify(pub, []byte(text[:cut]), sig) {
		return i, ErrInvalid
	}
	raw, err := base64.RawURLEncoding.DecodeString(payload)
	if err != nil {
		return i, ErrInvalid
	}
	if err := json.Unmarshal(raw, &i); err != nil {
		return Identity{}, ErrInvalid
	}
	return i, nil
}

type contextKey struct{}

// With returns a context of a request made by i.
func With(ctx context.Context, i Identity) context.Context {
	return context.WithValue(ctx, contextKey{}, i)
}

// From returns who made the request; false for nobody.
func From(ctx context.Context) (Identity, bool) {
	i, ok := ctx.Value(contextKey{}).(Identity)
	return i, ok
}
