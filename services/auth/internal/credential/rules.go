// Package credential owns the rows of token: every credential that lives, whatever its kind, so that all of them end
// alike. What is special to a kind stands in the packages below this one.
package credential

import (
	"bytes"
	"crypto/sha256"
	"time"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/stamp"
)

// Opening is a session about to be opened.
type Opening struct {
	Kind   string // "": a session that ends by disuse
	Hash   []byte // of its value; a session with refresh tokens has none
	Life   *time.Duration
	Method string
	Client Client
	Maker  *int32 // the credential by means of which it is opened
	MadeBy *int32 // the account that made the one-time key by which it is opened
}

// Opened is a session that was opened.
type Opened struct {
	ID        int32
	UUID      string
	CreatedAt time.Time
	ExpiresAt *time.Time
}

// Client is where a request came from.
type Client struct{ IP, UserAgent string }

const maxUserAgent = 256

// newClient bounds what is kept of a client.
func newClient(ip, userAgent string) Client {
	if len(userAgent) > maxUserAgent {
		userAgent = userAgent[:maxUserAgent]
	}
	return Client{ip, string(bytes.ToValidUTF8(bytes.ReplaceAll([]byte(userAgent), []byte{0}, nil), nil))}
}

// Hash returns a value that differs between clients.
func (c Client) Hash() []byte {
	sum := sha256.Sum256([]byte("client " + c.IP + "\x00" + c.UserAgent))
	return sum[:]
}

// ParseExpiry reads a time that must lie ahead.
func ParseExpiry(text string, now time.Time) (time.Time, error) {
	t, err := stamp.Parse(text)
	switch {
	case err != nil:
		return t, fault.Invalid.With("%s", err).On("expires_at")
	case !t.After(now):
		return t, fault.Invalid.With("%s UTC is in the past", stamp.Text(t)).On("expires_at")
	}
	return t, nil
}
