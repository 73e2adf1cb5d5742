package identity

import (
	"context"
	"crypto/ed25519"
	"errors"
	"testing"
	"time"
)

// TestRevoke checks that exactly the revoked identities are refused, although they are cached.
func TestRevoke(t *testing.T) {
	t.Parallel()
	signer, pub := newPair(t, "k1")
	v := NewVerifier(func(context.Context) (map[string]ed25519.PublicKey, error) {
		return map[string]ed25519.PublicKey{"k1": pub}, nil
	})
	now := time.Now()
	v.now = func() time.Time { return now }
	good := func(account, session, revision int32) bool {
		text, err := signer.Sign(Identity{
			AccountID: account, SessionID: session, Revision: revision, Expires: time.Now().Add(time.Hour),
		})
		if err != nil {
			t.Fatal(err)
		}
		_, err = v.Verify(t.Context(), text)
		if err != nil && !errors.Is(err, ErrInvalid) {
			t.Fatal(err)
		}
		return err == nil
	}
	if !good(3, 30, 5) || !good(3, 31, 5) || !good(4, 40, 0) || !good(3, 0, 5) {
		t.Fatal("refused before anything was revoked")
	}
	v.Revoke(30, 3, 0)
	if good(3, 30, 5) || !good(3, 31, 5) || !good(3, 0, 5) {
		t.Error("a session was revoked")
	}
	v.Revoke(0, 3, 6)
	v.Revoke(0, 3, 4) // an old event, delivered again
	if good(3, 31, 5) || good(3, 0, 5) || !good(3, 31, 6) || !good(4, 40, 0) {
		t.Error("an account was revoked")
	}
	now = now.Add(3 * MaxLife)
	v.Revoke(0, 5, 1)
	if len(v.revoked.sessions) != 0 || len(v.revoked.accounts) != 1 {
		t.Errorf("old revocations stay: %+v", v.revoked)
	}
}
