// Package bearer writes and reads access tokens: JWTs that name a session and live for an hour or so. A genuine
// token is not enough: its reader looks up the session, too.
package bearer

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"

	"slipway.dev/pkg/identity"
	"slipway.dev/services/auth/internal/keyring"
)

const (
	issuer   = "slipway"
	audience = "slipway-api"
	// kind separates these from all other JWTs (RFC 9068).
	kind = "at+jwt"
	// maxLength bounds the work that a text can cause: real ones have some 400 bytes.
	maxLength = 2048
)

// Token is what an access token says.
type Token struct {
	Account int32
	Session string // uuid
	Expires time.Time
}

type claims struct {
	Session string `json:"sid"`
	jwt.RegisteredClaims
}

// Is reports whether a credential has the form of an access token.
func Is(text string) bool { return strings.Count(text, ".") == 2 }

// Writer writes and reads access tokens with the keys of a ring.
type Writer struct {
	ring   *keyring.Ring
	now    func() time.Time
	parser *jwt.Parser
}

// New makes a writer.
func New(r *keyring.Ring, now func() time.Time) *Writer {
	return &Writer{ring: r, now: now, parser: jwt.NewParser(
		jwt.WithValidMethods([]string{jwt.SigningMethodEdDSA.Alg()}), jwt.WithIssuer(issuer), jwt.WithAudience(audience),
		jwt.WithExpirationRequired(), jwt.WithIssuedAt(), jwt.WithStrictDecoding(), jwt.WithTimeFunc(now),
	)}
}

// Write makes an access token.
func (w *Writer) Write(t Token) (string, error) {
	id, key := w.ring.Current()
	j := jwt.NewWithClaims(jwt.SigningMethodEdDSA, claims{t.Session, jwt.RegisteredClaims{
		Issuer: issuer, Audience: jwt.ClaimStrings{audience}, Subject: strconv.Itoa(int(t.Account)),
		ExpiresAt: jwt.NewNumericDate(t.Expires), IssuedAt: jwt.NewNumericDate(w.now()), ID: uuid.NewString(),
	}})
	j.Header["kid"], j.Header["typ"] = id, kind
	return j.SignedString(key)
}

// Read checks an access token. ErrInvalid: it is none of ours, or over.
func (w *Writer) Read(ctx context.Context, text string) (Token, error) {
	if len(text) > maxLength {
		return Token{}, identity.ErrInvalid
	}
	var c claims
	var failed error
	_, err := w.parser.ParseWithClaims(text, &c, func(j *jwt.Token) (any, error) {
		key, err := w.key(ctx, j.Header)
		if err != nil {
			failed = err
		}
		return key, err
	})
	if failed != nil {
		return Token{}, failed
	}
	account, numErr := strconv.ParseInt(c.Subject, 10, 32)
	_, idErr := uuid.Parse(c.Session)
	if err != nil || numErr != nil || idErr != nil {
		return Token{}, identity.ErrInvalid
	}
	return Token{Account: int32(account), Session: c.Session, Expires: c.ExpiresAt.Time}, nil
}

// key finds the key that a header names among ours. A header that says more than ours do is not ours, above all "crit".
func (w *Writer) key(ctx context.Context, header map[string]any) (ed25519.PublicKey, error) {
	id, ok := header["kid"].(string)
	if !ok || len(header) != 3 || header["typ"] != kind {
		return nil, identity.ErrInvalid
	}
	keys, err := w.ring.Public(ctx)
	if err != nil {
		return nil, fmt.Errorf("signing keys: %w", err)
	}
	key, ok := keys[id]
	if !ok {
		return nil, identity.ErrInvalid
	}
	return key, nil
}
