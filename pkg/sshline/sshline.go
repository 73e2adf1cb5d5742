// Package sshline is the one rule for public SSH keys: what the API accepts, the agent of a node executes.
package sshline

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/crypto/ssh"
)

const (
	// Max is how many keys a machine may have.
	Max = 100
	// MaxBytes is the length of a key with its comment.
	MaxBytes = 16 << 10
)

// Parse reads exactly one key with its comment, on one line of printable text. It refuses options: one could run a
// command at login.
func Parse(line string) (key ssh.PublicKey, comment string, err error) {
	line = strings.TrimSpace(line)
	if len(line) > MaxBytes {
		return nil, "", fmt.Errorf("longer than %d bytes", MaxBytes)
	}
	if !printable(line) {
		return nil, "", errors.New("not one line of printable text")
	}
	key, comment, options, rest, err := ssh.ParseAuthorizedKey([]byte(line))
	_, certificate := key.(*ssh.Certificate)
	switch {
	case err != nil:
		return nil, "", errors.New("not a public key in the authorized_keys format")
	case len(options) > 0:
		return nil, "", errors.New("options before the key are not supported")
	case len(bytes.TrimSpace(rest)) > 0:
		return nil, "", errors.New("more than one key")
	case certificate:
		return nil, "", errors.New("a certificate, not a key")
	}
	return key, comment, nil
}

// Format returns the line of a key; the comment may be empty.
func Format(key ssh.PublicKey, comment string) string {
	return strings.TrimSpace(strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key))) + " " + comment)
}

// printable reports whether all characters are visible, spaces or tabs. Spaces of other kinds are not.
func printable(s string) bool {
	if !utf8.ValidString(s) {
		return false
	}
	for _, r := range s {
		if !unicode.IsPrint(r) && r != '\t' {
			return false
		}
	}
	return true
}
