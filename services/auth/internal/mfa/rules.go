// Package mfa is the second factor of an account: time-based codes (TOTP) and recovery codes.
package mfa

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/pquerna/otp"
	"github.com/pquerna/otp/hotp"
	"github.com/pquerna/otp/totp"
	"google.golang.org/grpc/codes"

	"slipway.dev/pkg/fault"
	"slipway.dev/services/auth/internal/account"
)

// Faults of the second factor.
var (
	ErrRequired    = fault.New(codes.Unauthenticated, "TOTP_REQUIRED", "the account has a second factor: send a code as totp")
	errActive      = fault.New(codes.FailedPrecondition, "TOTP_ACTIVE", "the account has a second factor already")
	ErrInactive    = fault.New(codes.FailedPrecondition, "TOTP_INACTIVE", "the account has no second factor")
	ErrInvalidCode = fault.New(codes.InvalidArgument, "INVALID_CODE", "wrong, or used already").On("code")
)

const (
	issuer       = "Slipway"
	secretSize   = 20 // bytes, as SHA-1's output (RFC 4226)
	stepSeconds  = 30
	skew         = 1 // steps that a clock may be off
	recovery     = 10
	recoverySize = 10 // bytes: too many to guess even from the hash
)

// factor is the second factor of an account.
type factor struct {
	// secret is in base32.
	secret string
	// confirmed: the account's owner has shown a code.
	confirmed bool
	// lastStep is the step of the last code that was accepted.
	lastStep int64
}

// newSecret makes a secret for an account and the address by which an app imports it.
func newSecret(email string) (secret, uri string, err error) {
	k, err := totp.Generate(totp.GenerateOpts{Issuer: issuer, AccountName: email, SecretSize: secretSize, Period: stepSeconds})
	if err != nil {
		return "", "", fmt.Errorf("make a secret: %w", err)
	}
	return k.Secret(), k.URL(), nil
}

// step returns the step that a code is of. ok is false for a code that is wrong, or of the last step that a code was
// accepted of, or of an earlier one.
func (f factor) step(code string, now time.Time) (step int64, ok bool) {
	code = strings.ReplaceAll(strings.TrimSpace(code), " ", "")
	current := now.Unix() / stepSeconds
	for step := max(current-skew, f.lastStep+1); step <= current+skew; step++ {
		want, err := hotp.GenerateCodeCustom(f.secret, uint64(step), hotp.ValidateOpts{Digits: otp.DigitsSix, Algorithm: otp.AlgorithmSHA1}) // #nosec G115 -- after 1970
		if err == nil && subtle.ConstantTimeCompare([]byte(code), []byte(want)) == 1 {
			return step, true
		}
	}
	return 0, false
}

var recoveryForm = base32.StdEncoding.WithPadding(base32.NoPadding)

// newRecoveryCodes makes codes such as "ABCD-EFGH-IJKL-MNOP" and what is stored of them.
func newRecoveryCodes(account int32) (codes []string, hashes [][]byte) {
	for range recovery {
		var b [recoverySize]byte
		_, _ = rand.Read(b[:]) // never fails
		text := recoveryForm.EncodeToString(b[:])
		codes = append(codes, strings.Join([]string{text[:4], text[4:8], text[8:12], text[12:]}, "-"))
		hashes = append(hashes, hashRecovery(account, text))
	}
	return codes, hashes
}

// recoveryHash returns what is stored of a recovery code, however it was typed; false for what does not look like one.
func recoveryHash(account int32, code string) ([]byte, bool) {
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

// add gives an account a second factor. A login that is under way without it opens no session.
func add(a *account.Account) {
	a.TOTP = true
	a.Epoch++
}

// place returns what binds a sealed secret to its row.
func place(account int32) string { return "totp " + strconv.Itoa(int(account)) }
