// Package sshkey holds the public keys that hosts of an account let in.
package sshkey

import (
	"strings"

	"golang.org/x/crypto/ssh"
	"google.golang.org/grpc/codes"

	"slipway.dev/pkg/fault"
)

// errTooMany refuses one key more.
var errTooMany = fault.New(codes.FailedPrecondition, "TOO_MANY_KEYS", "the account has too many SSH keys")

const (
	maxKeys    = 100 // of one account
	maxKeyText = 16 << 10
	maxName    = 255
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
	text = strings.TrimSpace(text)
	switch {
	case text == "":
		return sshKey{}, fault.Invalid.With("a value is required").On("ssh_pub_key")
	case len(text) > maxKeyText:
		return sshKey{}, fault.Invalid.With("at most %d bytes", maxKeyText).On("ssh_pub_key")
	case strings.ContainsAny(text, "\r\n\x00"):
		return sshKey{}, fault.Invalid.With("exactly one key, on one line").On("ssh_pub_key")
	}
	key, comment, options, _, err := ssh.ParseAuthorizedKey([]byte(text))
	if err != nil {
		return sshKey{}, fault.Invalid.With("not a public key in the authorized_keys format").On("ssh_pub_key")
	}
	if len(options) > 0 {
		return sshKey{}, fault.Invalid.With("options before the key are not supported").On("ssh_pub_key")
	}
	if _, ok := key.(*ssh.Certificate); ok {
		return sshKey{}, fault.Invalid.With("a certificate, not a key").On("ssh_pub_key")
	}
	name = strings.TrimSpace(name)
	if name == "" {
		name = comment
	}
	if len(name) > maxName {
		return sshKey{}, fault.Invalid.With("at most %d bytes", maxName).On("name")
	}
	line := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key)))
	return sshKey{
		Name: name, PublicKey: strings.TrimSpace(line + " " + comment), Fingerprint: ssh.FingerprintSHA256(key),
	}, nil
}
