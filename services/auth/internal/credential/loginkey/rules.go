// Package loginkey holds one-time keys: each opens one session of an account, once, without a password.
package loginkey

import (
	"strings"

	"google.golang.org/grpc/codes"

	"slipway.dev/pkg/fault"
	"slipway.dev/services/auth/internal/credential/secret"
)

// method is the method of sessions that a one-time key opened.
const method = "key"

// Faults of one-time keys. errInvalid does not say why.
var (
	errInvalid   = fault.New(codes.Unauthenticated, "INVALID_KEY", "Unauthorized: the key is unknown, used or expired")
	errSuspended = fault.New(codes.FailedPrecondition, "ACCOUNT_SUSPENDED", "the account is suspended")
)

// hashOf returns what is stored of a key, which has the form of a token. A value of another form is refused as an
// unknown one is.
func hashOf(value string) ([]byte, error) {
	hash, err := secret.Hash(strings.TrimSpace(value))
	if err != nil {
		return nil, errInvalid
	}
	return hash, nil
}
