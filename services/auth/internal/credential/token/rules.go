// Package token holds tokens with a lifetime of their own, and shows and ends the credentials of the caller.
package token

import (
	"strconv"
	"time"
	"unicode/utf8"

	"google.golang.org/grpc/codes"

	"slipway.dev/pkg/fault"
	"slipway.dev/services/auth/internal/credential/secret"
)

const (
	maxTokens      = 1000 // of one account, without those that end by disuse
	maxDescription = 1000
)

var errTooMany = fault.New(codes.FailedPrecondition, "TOO_MANY_TOKENS", "the account has too many tokens")

// info is what may be shown of a token.
type info struct {
	ID, AccountID       int32
	Kind, Description   string
	ExpiresAt           *time.Time
	ValidUntil          *time.Time // when it ends if it is not used again; nil is never
	LastUsed, CreatedAt time.Time
}

// checkDescription bounds what is kept with a token.
func checkDescription(s string) error {
	if utf8.RuneCountInString(s) > maxDescription {
		return fault.Invalid.With("at most %d characters", maxDescription).On("description")
	}
	return nil
}

// named reads how a path names a token: by its id or its value. No token has the id 0 or no hash.
func named(text string) (id int32, hash []byte) {
	if n, err := strconv.ParseInt(text, 10, 32); err == nil {
		return int32(n), nil
	}
	hash, err := secret.Hash(text)
	if err != nil {
		return 0, nil
	}
	return 0, hash
}
