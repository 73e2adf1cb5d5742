package domain

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
	ErrRefreshReused = fault.New(codes.Unauthenticated, "REFRESH_TOKEN_REUSED",
		"the refresh token was used before: its session was ended, log in again")
	ErrRefreshTooLate = fault.New(codes.Unauthenticated, "REFRESH_TOKEN_USED",
		"the refresh token was used before, and so was the one that came of it: use the newest")
)

const (
	// RefreshGrace is how long a client whose answer got lost may ask again.
	RefreshGrace = 10 * time.Second
	// RefreshAge is how long a session lives, however often it is refreshed.
	RefreshAge = 365 * 24 * time.Hour
	// RefreshKept is how many used refresh tokens of a session are remembered.
	RefreshKept = 1000

	accessLife  = time.Hour
	maxAccess   = 24 * time.Hour // what a signing key verifies after its end is longer
	refreshIdle = 30 * 24 * time.Hour
	maxRefresh  = 90 * 24 * time.Hour
)

// Lives are how long the tokens of a session live.
type Lives struct{ Access, Refresh time.Duration }

// NewLives reads what a login asks for, in seconds; 0 is the default.
func NewLives(access, refresh int32) (Lives, error) {
	l := Lives{accessLife, refreshIdle}
	if access != 0 {
		l.Access = time.Duration(access) * time.Second
	}
	if refresh != 0 {
		l.Refresh = time.Duration(refresh) * time.Second
	}
	switch {
	case l.Access < time.Minute || l.Access > maxAccess:
		return l, fault.Invalid.With("from %d to %d", 60, int(maxAccess.Seconds())).On("access_seconds")
	case l.Refresh < time.Hour || l.Refresh > maxRefresh:
		return l, fault.Invalid.With("from %d to %d", 3600, int(maxRefresh.Seconds())).On("refresh_seconds")
	}
	return l, nil
}

// RefreshToken is a refresh token that was used, or not yet.
type RefreshToken struct {
	Session int32
	Used    bool
	Recent  bool   // used within RefreshGrace
	UsedBy  []byte // the client
	Salt    []byte // nil once the next one was used
}

// Use is what the use of a refresh token deserves.
type Use int

const (
	First   Use = iota // the next token
	Again              // the same next token: the client did not get the answer
	TooLate            // nothing: the same client has the next token and used it
	Theft              // the end of the session
)

// Judge looks at the use of a token by a client.
func (r RefreshToken) Judge(client []byte) Use {
	switch {
	case !r.Used:
		return First
	case !r.Recent || !bytes.Equal(r.UsedBy, client):
		return Theft
	case r.Salt == nil:
		return TooLate
	default:
		return Again
	}
}

var refreshForm = regexp.MustCompile(`^slr_[0-9A-Za-z_-]{43}$`)

// NewRefreshToken makes the value of a session's first refresh token: 256 random bits.
func NewRefreshToken() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails
	return refreshText(b[:])
}

// NewSalt makes what the next value depends on besides this one.
func NewSalt() []byte {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails
	return b
}

// NextRefreshToken makes the value of the token after value. Neither the database, which has the salt, nor somebody who
// got hold of value alone can.
func NextRefreshToken(value string, salt []byte) string {
	mac := hmac.New(sha256.New, []byte(value))
	mac.Write(salt)
	return refreshText(mac.Sum(nil))
}

func refreshText(b []byte) string { return "slr_" + base64.RawURLEncoding.EncodeToString(b) }

// HashRefreshToken returns what is stored of a refresh token.
func HashRefreshToken(value string) ([]byte, error) {
	if !refreshForm.MatchString(value) {
		return nil, identity.ErrInvalid
	}
	sum := sha256.Sum256([]byte(value))
	return sum[:], nil
}

// Client is where a request came from.
type Client struct{ IP, UserAgent string }

const maxUserAgent = 256

// NewClient bounds what is kept of a client.
func NewClient(ip, userAgent string) Client {
	if len(userAgent) > maxUserAgent {
		userAgent = userAgent[:maxUserAgent]
	}
	return Client{ip, string(bytes.ToValidUTF8(bytes.ReplaceAll([]byte(userAgent), []byte{0}, nil), nil))}
}

// Hash tells clients apart.
func (c Client) Hash() []byte { return key("client " + c.IP + "\x00" + c.UserAgent) }
