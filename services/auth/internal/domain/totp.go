package domain

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"fmt"
	"strings"
	"time"

	"github.com/pquerna/otp"
	"github.com/pquerna/otp/hotp"
	"github.com/pquerna/otp/totp"
	"google.golang.org/grpc/codes"

	"slipway.dev/pkg/fault"
)

// Faults of the second factor.
var (
	ErrTOTPRequired = fault.New(codes.Unauthenticated, "TOTP_REQUIRED", "the account has a second factor: send a code as totp")
	ErrTOTPActive   = fault.New(codes.FailedPrecondition, "TOTP_ACTIVE", "the account has a second factor already")
	ErrTOTPInactive = fault.New(codes.FailedPrecondition, "TOTP_INACTIVE", "the account has no second factor")
	ErrInvalidCode  = fault.New(codes.InvalidArgument, "INVALID_CODE", "wrong, or used already").On("code")
)

const (
	issuer       = "Slipway"
	secretSize   = 20 // bytes, as SHA-1's output (RFC 4226)
	stepSeconds  = 30
	skew         = 1 // steps that a clock may be off
	recovery     = 10
	recoverySize = 10 // bytes: what nobody guesses even from the hash
)

// TOTP is the second factor of an account.
type TOTP struct {
	// Secret is in base32.
	Secret string
	// Confirmed: the account's owner has shown a code.
	Confirmed bool
	// LastStep is the step of the last code that was accepted.
	LastStep int64
}

// NewTOTP makes a secret for an account and the address by which an app takes it.
func NewTOTP(email string) (secret, uri string, err error) {
	k, err := totp.Generate(totp.GenerateOpts{Issuer: issuer, AccountName: email, SecretSize: secretSize, Period: stepSeconds})
	if err != nil {
		return "", "", fmt.Errorf("make a secret: %w", err)
	}
	return k.Secret(), k.URL(), nil
}

// Step tells which step a code is of. It is false for a code that is wrong, or of a step that a code was accepted of, or
// earlier.
func (t TOTP) Step(code string, now time.Time) (int64, bool) {
	code = strings.ReplaceAll(strings.TrimSpace(code), " ", "")
	current := now.Unix() / stepSeconds
	for step := max(current-skew, t.LastStep+1); step <= current+skew; step++ {
		want, err := hotp.GenerateCodeCustom(t.Secret, uint64(step), hotp.ValidateOpts{Digits: otp.DigitsSix, Algorithm: otp.AlgorithmSHA1}) // #nosec G115 -- after 1970
		if err == nil && subtle.ConstantTimeCompare([]byte(code), []byte(want)) == 1 {
			return step, true
		}
	}
	return 0, false
}

var recoveryForm = base32.StdEncoding.WithPadding(base32.NoPadding)

// NewRecoveryCodes makes codes such as "ABCD-EFGH-IJKL-MNOP" and what is stored of them.
func NewRecoveryCodes(account int32) (codes []string, hashes [][]byte) {
	for range recovery {
		var b [recoverySize]byte
		_, _ = rand.Read(b[:]) // never fails
		text := recoveryForm.EncodeToString(b[:])
		codes = append(codes, strings.Join([]string{text[:4], text[4:8], text[8:12], text[12:]}, "-"))
		hashes = append(hashes, hashRecovery(account, text))
	}
	return codes, hashes
}

// RecoveryHash returns what is stored of a recovery code, however it was typed; false for what does not look like one.
func RecoveryHash(account int32, code string) ([]byte, bool) {
	text := strings.ToUpper(strings.NewReplacer("-", "", " ", "").Replace(code))
	if b, err := recoveryForm.DecodeString(text); err != nil || len(b) != recoverySize {
		return nil, false
	}
	return hashRecovery(account, text), true
}

func hashRecovery(account int32, text string) []byte {
	sum := sha256.Sum256(fmt.Appendf(nil, "recovery %d %s", account, text))
	return sum[:]
}

// AddTOTP gives a a second factor. A login that is under way without it opens no session.
func (a *Account) AddTOTP() Ends {
	a.TOTP = true
	a.Epoch++
	return EndsNothing
}

// ResetTOTP takes the second factor of somebody who lost it.
func (a *Account) ResetTOTP(by int32) (Ends, error) {
	switch {
	case by == a.ID:
		return EndsNothing, fault.Denied.With("removing your own second factor requires a code: DELETE /auth/v4/self/totp")
	case !a.TOTP:
		return EndsNothing, ErrTOTPInactive
	}
	a.TOTP = false
	return a.end(EndsSessions), nil
}
