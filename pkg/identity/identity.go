// Package identity is the signed identity of the account that makes a request. auth signs an identity for each live token, and
// every service verifies the identity, so that access to the internal network gives no rights.
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

// Names of the built-in roles, as auth stores them in accounts.
const (
	RoleAdmin         = "@admin"
	RoleAdvancedUser  = "@advanced_user"
	RoleUser          = "@user"
	RoleReadOnlyAdmin = "@admin.readonly"
)

// MetadataKey carries the signed identity from the gateway to the services.
const MetadataKey = "slipway-identity"

// ErrInvalid is the fault of an identity that is forged, expired or signed by another installation.
var ErrInvalid = fault.Unauthenticated.With("the token is unknown or expired")

// Identity is an account as it was when its token was checked.
type Identity struct {
	AccountID int32     `json:"sub"`
	SessionID int32     `json:"sid"`
	Email     string    `json:"email"`
	Roles     []string  `json:"roles"`
	Issued    time.Time `json:"iat"`
	Expires   time.Time `json:"exp"`
	// Revision counts the changes of the account's rights. A revocation names the first revision that is still valid.
	Revision int32 `json:"rev,omitempty"`

	// Grants are the scopes that the account's custom roles give it for its own objects, GrantsAll those for the objects of
	// every account. Both add to the scopes of the built-in roles.
	Grants    []string `json:"grants,omitempty"`
	GrantsAll []string `json:"grants_all,omitempty"`
	// Only are the scopes of a Limited credential, whatever else its account may do.
	Limited bool     `json:"limited,omitempty"`
	Only    []string `json:"only,omitempty"`
	// Actor is the service that acts for the account; empty when the account's own credential was used.
	Actor string `json:"act,omitempty"`
	// Audience is the service that the identity is for. Identities that the installation makes for itself have none.
	Audience string `json:"aud,omitempty"`

	reachesAll bool
}

// ScopeSelf is the scope of methods that concern only the credential of the call. Every identity has this scope.
const ScopeSelf = "self"

// Admin reports whether the account may do everything. The credential may still be Limited.
func (i Identity) Admin() bool { return slices.Contains(i.Roles, RoleAdmin) }

// ReadOnly reports whether the account may read everything and change nothing.
func (i Identity) ReadOnly() bool { return !i.Admin() && slices.Contains(i.Roles, RoleReadOnlyAdmin) }

// Name returns the name for records: the account's e-mail, and the service that acts for the account.
func (i Identity) Name() string {
	if i.Actor == "" {
		return i.Email
	}
	return i.Email + " (by " + i.Actor + ")"
}

// ReachesAll reports whether the call may reach the objects of every account, and not only the caller's own.
func (i Identity) ReachesAll() bool { return i.Admin() || i.reachesAll }

// Demand is the access rule of a method for users.
type Demand struct {
	Scope string
	// Admin: of the built-in roles, only those of administrators may call.
	Admin bool
	// Read: a read-only administrator may call.
	Read bool
}

// For returns the identity with the reach that the caller has in methods of this demand. It returns false if the caller may not
// call them at all.
func (i Identity) For(d Demand) (Identity, bool) {
	if d.Scope == ScopeSelf {
		return i, true
	}
	if i.Limited && !slices.Contains(i.Only, d.Scope) {
		return i, false
	}
	all := slices.Contains(i.GrantsAll, d.Scope)
	i.reachesAll = all || d.Read && i.ReadOnly()
	switch {
	case i.ReachesAll(), slices.Contains(i.Grants, d.Scope):
		return i, true
	default:
		return i, !d.Admin && (slices.Contains(i.Roles, RoleUser) || slices.Contains(i.Roles, RoleAdvancedUser))
	}
}

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

// open checks the signature of text with the key of the id in text, and returns the identity.
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

// With returns a context for a request made by i.
func With(ctx context.Context, i Identity) context.Context {
	return context.WithValue(ctx, contextKey{}, i)
}

// From returns the identity that made the request, and false for an anonymous request.
func From(ctx context.Context) (Identity, bool) {
	i, ok := ctx.Value(contextKey{}).(Identity)
	return i, ok
}
