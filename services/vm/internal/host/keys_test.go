package host

import (
	"crypto/ed25519"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/sshline"
)

// TestKeysOfTheAccount: the keys of account and request together are what the agent takes, whatever their comments.
func TestKeysOfTheAccount(t *testing.T) {
	t.Parallel()
	var keys []string
	for range sshline.Max + 1 {
		pub, _, err := ed25519.GenerateKey(nil)
		if err != nil {
			t.Fatal(err)
		}
		key, err := ssh.NewPublicKey(pub)
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, sshline.Format(key, "Ivan\u00a0Petrov"))
	}
	own := strings.Join(strings.Fields(keys[0])[:2], " ")
	s := &createSpec{SSHKeys: []string{own}}
	if err := s.addKeys(keys[:sshline.Max]); err != nil || len(s.SSHKeys) != sshline.Max {
		t.Errorf("%d keys, one of them twice: %v", len(s.SSHKeys), err)
	}
	for _, k := range s.SSHKeys {
		if _, _, err := sshline.Parse(k); err != nil {
			t.Errorf("%q: the agent refuses this key: %v", k, err)
		}
	}
	f, _ := fault.From((&createSpec{SSHKeys: []string{own}}).addKeys(keys[1:]))
	if f == nil || f.Field != "ssh_keys" {
		t.Errorf("one key too many: %v", f)
	}
}

// TestLengthsInCharacters: a length that is announced in characters is counted in characters.
func TestLengthsInCharacters(t *testing.T) {
	t.Parallel()
	for n, want := range map[int]bool{65: true, 128: true, 129: false} {
		s := &createSpec{Name: "web", OS: 1, Password: strings.Repeat("я", n)}
		if err := s.check(); (err == nil) != want {
			t.Errorf("a password of %d characters: %v", n, err)
		}
	}
	for n, want := range map[int]bool{4096: true, 4097: false} {
		if err := checkComment(strings.Repeat("я", n)); (err == nil) != want {
			t.Errorf("a comment of %d characters: %v", n, err)
		}
	}
}
