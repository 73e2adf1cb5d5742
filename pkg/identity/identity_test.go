package identity

import (
	"context"
	"crypto/ed25519"
	"errors"
	"strings"
	"testing"
	"time"
)

func newPair(t *testing.T, id string) (*Signer, ed25519.PublicKey) {
	t.Helper()
	pub, priv, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	return NewSigner(id, priv), pub
}

func TestVerify(t *testing.T) {
	t.Parallel()
	signer, pub := newPair(t, "k1")
	foreign, _ := newPair(t, "k1")
	fetches := 0
	v := NewVerifier(func(context.Context) (map[string]ed25519.PublicKey, error) {
		fetches++
		return map[string]ed25519.PublicKey{"k1": pub}, nil
	})
	now := time.Now()
	v.now = func() time.Time { return now }
	ctx := t.Context()

	good, _ := signer.Sign(Identity{AccountID: 3, Roles: []string{RoleUser}, Expires: now.Add(time.Minute)})
	forged, _ := foreign.Sign(Identity{AccountID: 3, Roles: []string{RoleAdmin}, Expires: now.Add(time.Minute)})
	over, _ := signer.Sign(Identity{AccountID: 3, Expires: now.Add(-time.Second)})

	for range 3 {
		if i, err := v.Verify(ctx, good); err != nil || i.AccountID != 3 || i.Admin() {
			t.Fatalf("good: %+v %v", i, err)
		}
	}
	parts := strings.Split(good, ".")
	for name, text := range map[string]string{
		"forged": forged, "over": over, "empty": "", "dots": "...", "no signature": parts[0] + "." + parts[1] + ".",
		"payload swapped": parts[0] + "." + strings.Split(forged, ".")[1] + "." + parts[2],
		"unknown key":     "k2." + parts[1] + "." + parts[2],
	} {
		if _, err := v.Verify(ctx, text); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if fetches != 1 {
		t.Errorf("%d fetches of keys: forged identities must not make more", fetches)
	}
	now = now.Add(2 * time.Minute)
	if _, err := v.Verify(ctx, good); !errors.Is(err, ErrInvalid) {
		t.Errorf("a remembered identity outlived its end: %v", err)
	}
}

// TestKeysThatOthersFetch checks that a call uses keys that another call fetched meanwhile.
func TestKeysThatOthersFetch(t *testing.T) {
	t.Parallel()
	signer, pub := newPair(t, "k1")
	v := NewVerifier(func(context.Context) (map[string]ed25519.PublicKey, error) {
		return map[string]ed25519.PublicKey{"k1": pub}, nil
	})
	text, _ := signer.Sign(Identity{AccountID: 3, Expires: time.Now().Add(time.Minute)})
	meanwhile := true
	v.now = func() time.Time {
		if meanwhile { // the first has found no key and asks whether to fetch
			meanwhile = false
			if _, err := v.Verify(t.Context(), text); err != nil {
				t.Errorf("the other: %v", err)
			}
		}
		return time.Now()
	}
	if _, err := v.Verify(t.Context(), text); err != nil {
		t.Errorf("the first: %v", err)
	}
}

func TestVerifierLearnsNewKeys(t *testing.T) {
	t.Parallel()
	s1, p1 := newPair(t, "k1")
	s2, p2 := newPair(t, "k2")
	keys := map[string]ed25519.PublicKey{"k1": p1}
	v := NewVerifier(func(context.Context) (map[string]ed25519.PublicKey, error) { return keys, nil })
	now := time.Now()
	v.now = func() time.Time { return now }
	id := Identity{AccountID: 1, Expires: now.Add(time.Hour)}

	a, _ := s1.Sign(id)
	if _, err := v.Verify(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	keys = map[string]ed25519.PublicKey{"k1": p1, "k2": p2}
	now = now.Add(refetchAfter)
	b, _ := s2.Sign(id)
	if _, err := v.Verify(t.Context(), b); err != nil {
		t.Fatalf("after rotation: %v", err)
	}
}
