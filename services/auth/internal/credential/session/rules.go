// Package session opens, refreshes, lists and ends sessions.
package session

import (
	"time"

	"github.com/google/uuid"

	"slipway.dev/pkg/fault"
)

// ByPassword is the method of sessions that a password opened.
const ByPassword = "password"

// info is what may be shown of a session.
type info struct {
	ID, AccountID         int32
	UUID, Kind, Email     string
	IP, UserAgent, Method string
	CreatedAt, LastUsed   time.Time
	ExpiresAt             *time.Time
}

// parseUUID reads the uuid of a session. A text that is no uuid names no session.
func parseUUID(text string) (string, error) {
	id, err := uuid.Parse(text)
	if err != nil {
		return "", fault.NotFound.With("no such session")
	}
	return id.String(), nil
}
