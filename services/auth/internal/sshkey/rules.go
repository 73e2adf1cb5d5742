// Package sshkey holds the public keys that hosts of an account let in.
package sshkey

import (
	"strings"
	"unicode/utf8"

	"golang.org/x/crypto/ssh"
	"google.golang.org/grpc/codes"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/sshline"
)

// errTooMany refuses one key more.
var errTooMany = fault.New(codes.FailedPrecondition, "TOO_MANY_KEYS", "the account has too many SSH keys")

const (
	maxKeys = sshline.Max // of one account
	maxName = 255
)

// sshKey is a public key that hosts of an account let in.
type sshKey struct {
	ID          int32
	Name        string
	PublicKey   string // type, base64, comment
	Fingerprint string // the same for the same key, whatever its comment
}

// parse reads one line of an authorized_keys file. Options are refused: they would be lost on the way to a
// host, and a key without its "command=" lets in more than its owner meant.
func parse(name, text string) (sshKey, error) {
	if strings.TrimSpace(text) == "" {
		return sshKey{}, fault.Invalid.With("a value is required").On("ssh_pub_key")
	}
	key, comment, err := sshline.Parse(text)
	if err != nil {
		return sshKey{}, fault.Invalid.With("%s", err).On("ssh_pub_key")
	}
	name = strings.TrimSpace(name)
	if name == "" {
		name = comment
	}
	if utf8.RuneCountInString(name) > maxName {
		return sshKey{}, fault.Invalid.With("at most %d characters", maxName).On("name")
	}
	return sshKey{Name: name, PublicKey: sshline.Format(key, comment), Fingerprint: ssh.FingerprintSHA256(key)}, nil
}
