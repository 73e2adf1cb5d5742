package domain

import (
	"strconv"
	"strings"

	"google.golang.org/grpc/codes"

	"slipway.dev/pkg/fault"
)

// Faults of one-time keys. The first says nothing about why.
var (
	ErrInvalidKey = fault.New(codes.Unauthenticated, "INVALID_KEY", "Unauthorized: the key is unknown, used or expired")
	ErrSuspended  = fault.New(codes.FailedPrecondition, "ACCOUNT_SUSPENDED", "the account is suspended")
)

// NewKey makes the value of a one-time key, in the form of a token.
func NewKey(account int32) string { return NewToken(account) }

// HashKey returns what is stored of a key. What does not look like one is refused as an unknown one is.
func HashKey(value string) ([]byte, error) {
	hash, err := HashToken(strings.TrimSpace(value))
	if err != nil {
		return nil, ErrInvalidKey
	}
	return hash, nil
}

// Named reads how a path names an account: by its id, or else by its e-mail, folded.
func Named(text string) (id int32, email string) {
	if n, err := strconv.ParseInt(text, 10, 32); err == nil {
		return int32(n), ""
	}
	return 0, FoldEmail(text)
}
