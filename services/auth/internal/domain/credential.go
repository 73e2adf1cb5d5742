package domain

import (
	"time"

	"github.com/google/uuid"

	"slipway.dev/pkg/fault"
)

// Kinds of credentials beside the sessions and tokens of the VMmanager dialect, which have none.
const (
	KindAPIKey   = "apikey"
	KindKeystone = "keystone"
	KindRefresh  = "refresh"
)

// Ways in which an account was logged in to.
const (
	ByPassword = "password"
	ByKey      = "key"
	ByAPIKey   = "application_credential"
)

// Opening is a session about to be opened.
type Opening struct {
	Kind   string // "": a session that ends by disuse
	Hash   []byte // of its value; a session with refresh tokens has none
	Life   *time.Duration
	Method string
	Client Client
	Maker  *int32 // the API key by means of which it is opened
}

// Opened is a session that was.
type Opened struct {
	ID        int32
	UUID      string
	CreatedAt time.Time
	ExpiresAt *time.Time
}

// SessionInfo is what may be shown of a session.
type SessionInfo struct {
	ID, AccountID         int32
	UUID, Kind, Email     string
	IP, UserAgent, Method string
	CreatedAt, LastUsed   time.Time
	ExpiresAt             *time.Time
}

// SessionID reads the uuid of a session. What is none names no session.
func SessionID(text string) (string, error) {
	id, err := uuid.Parse(text)
	if err != nil {
		return "", fault.NotFound.With("no such session")
	}
	return id.String(), nil
}
