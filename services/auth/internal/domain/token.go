package domain

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"strconv"
	"time"

	"google.golang.org/grpc/codes"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/identity"
)

// Faults of logging in. The first says nothing about whether the account exists or is suspended.
var (
	ErrInvalidPassword = fault.New(codes.Unauthenticated, "INVALID_PASSWORD", "Invalid password")
	ErrRateLimited     = fault.New(codes.ResourceExhausted, "RATE_LIMITED", "too many login attempts, try again later")
	ErrTooManyTokens   = fault.New(codes.FailedPrecondition, "TOO_MANY_TOKENS", "the account has too many tokens")
)

// MaxTokens is how many tokens that do not end by disuse an account may have.
const MaxTokens = 1000

// IdentityLife is how long a signed identity lives: the longest time that a service which misses a revocation goes on
// to accept it.
const IdentityLife = identity.MaxLife

const maxDescription = 1000

// TokenInfo is what may be shown of a token.
type TokenInfo struct {
	ID, AccountID       int32
	Kind, Description   string
	ExpiresAt           *time.Time
	ValidUntil          *time.Time // when it ends if it is not used again; nil is never
	LastUsed, CreatedAt time.Time
}

// NewToken makes the value of a token: whose it is and 256 random bits.
func NewToken(account int32) string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails
	return strconv.Itoa(int(account)) + "-" + hex.EncodeToString(b[:])
}

var tokenForm = regexp.MustCompile(`^[0-9]{1,10}-[0-9a-f]{64}$`)

// HashToken returns what is stored of a token or an API key. A plain hash is enough: nobody guesses 256 random bits. What does not
// look like a token is refused as an unknown one is.
func HashToken(value string) ([]byte, error) {
	if !tokenForm.MatchString(value) && !isAPIKey(value) {
		return nil, identity.ErrInvalid
	}
	sum := sha256.Sum256([]byte(value))
	return sum[:], nil
}

// Expiry reads "YYYY-MM-DD HH:MM:SS" in UTC, which must lie ahead.
func Expiry(text string, now time.Time) (time.Time, error) {
	t, err := time.ParseInLocation(time.DateTime, text, time.UTC)
	switch {
	case err != nil:
		return t, fault.Invalid.With("%q is not a time such as %q", clip(text), time.DateTime).On("expires_at")
	case !t.After(now):
		return t, fault.Invalid.With("%s UTC is in the past", text).On("expires_at")
	}
	return t, nil
}

// CheckDescription bounds what is kept with a token.
func CheckDescription(s string) error {
	if len(s) > maxDescription {
		return fault.Invalid.With("at most %d bytes", maxDescription).On("description")
	}
	return nil
}

// Lease is how long an identity signed now may live, when its token lives for left; nil is for ever.
func Lease(left *time.Duration) time.Duration {
	if left == nil {
		return IdentityLife
	}
	return min(IdentityLife, *left)
}
