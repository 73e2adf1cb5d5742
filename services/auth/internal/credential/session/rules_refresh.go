package session

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"regexp"
	"time"

	"google.golang.org/grpc/codes"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/identity"
)

// Faults of using a refresh token a second time.
var (
	errReused = fault.New(codes.Unauthenticated, "REFRESH_TOKEN_REUSED",
		"the refresh token was used before: its session was ended, log in again")
	errTooLate = fault.New(codes.Unauthenticated, "REFRESH_TOKEN_USED",
		"the refresh token was used before, and so was the one that came of it: use the newest")
)

// kindRefresh is the kind of sessions with refresh tokens.
const kindRefresh = "refresh"

const (
	// refreshGrace is how long a client whose answer got lost may ask again.
	refreshGrace = 10 * time.Second
	// refreshAge is how long a session lives, however often it is refreshed.
	refreshAge = 365 * 24 * time.Hour
	// refreshKept is how many used refresh tokens of a session are remembered.
	refreshKept = 1000

	accessLife  = time.Hour
	maxAccess   = 24 * time.Hour // what a signing key verifies after its end is longer
	refreshIdle = 30 * 24 * time.Hour
	maxRefresh  = 90 * 24 * time.Hour
)

// lives are how long the tokens of a session live.
type lives struct{ access, refresh time.Duration }

// newLives reads what a login asks for, in seconds; 0 is the default.
func newLives(access, refresh int32) (lives, error) {
	l := lives{accessLife, refreshIdle}
	if access != 0 {
		l.access = time.Duration(access) * time.Second
	}
	if refresh != 0 {
		l.refresh = time.Duration(refresh) * time.Second
	}
	switch {
	case l.access < time.Minute || l.access > maxAccess:
		return l, fault.Invalid.With("from %d to %d", 60, int(maxAccess.Seconds())).On("access_seconds")
	case l.refresh < time.Hour || l.refresh > maxRefresh:
		return l, fault.Invalid.With("from %d to %d", 3600, int(maxRefresh.Seconds())).On("refresh_seconds")
	}
	return l, nil
}

// refreshToken is a refresh token, used or not.
type refreshToken struct {
	used   bool
	recent bool   // used within refreshGrace
	usedBy []byte // the client
	salt   []byte // nil once the next one was used
}

// use is how a use of a refresh token is answered.
type use int

const (
	first   use = iota // with the next token
	again              // with the same next token: the client did not get the answer
	tooLate            // with a fault: the same client has the next token and used it
	theft              // with the end of the session
)

// classify returns how the use of a token by a client is answered.
func (r refreshToken) classify(client []byte) use {
	switch {
	case !r.used:
		return first
	case !r.recent || !bytes.Equal(r.usedBy, client):
		return theft
	case r.salt == nil:
		return tooLate
	default:
		return again
	}
}

var refreshForm = regexp.MustCompile(`^slr_[0-9A-Za-z_-]{43}$`)

// newRefreshToken makes the value of a session's first refresh token: 256 random bits.
func newRefreshToken() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails
	return refreshText(b[:])
}

// newSalt makes what the next value depends on besides this one.
func newSalt() []byte {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails
	return b
}

// nextRefreshToken makes the value of the token after value. It needs both: the database has only the salt, and a
// thief of the token only its value.
func nextRefreshToken(value string, salt []byte) string {
	mac := hmac.New(sha256.New, []byte(value))
	mac.Write(salt)
	return refreshText(mac.Sum(nil))
}

func refreshText(b []byte) string { return "slr_" + base64.RawURLEncoding.EncodeToString(b) }

// hashRefreshToken returns what is stored of a refresh token.
func hashRefreshToken(value string) ([]byte, error) {
	if !refreshForm.MatchString(value) {
		return nil, identity.ErrInvalid
	}
	sum := sha256.Sum256([]byte(value))
	return sum[:], nil
}
