package identity

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"testing"
	"time"
)

// TestMalformedTexts opens texts that are signed and yet no identity: none of them opens, and none gives a part of one.
func TestMalformedTexts(t *testing.T) {
	t.Parallel()
	signer, pub := newPair(t, "k1")
	key := func(id string) ed25519.PublicKey {
		return map[string]ed25519.PublicKey{"k1": pub, "short": pub[:5]}[id]
	}
	signed := func(head, payload string) string {
		text := head + "." + payload
		return text + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(signer.key, []byte(text)))
	}
	encoded := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	good := signed("k1", encoded(`{"a": 0}`))
	if _, err := open(good, key); err != nil {
		t.Fatalf("a good text: %v", err)
	}
	for name, text := range map[string]string{
		"empty":             "",
		"no dot":            "k1",
		"one dot":           "k1." + encoded(`{}`),
		"payload not coded": signed("k1", "!!"),
		"payload no JSON":   signed("k1", encoded(`{`)),
		"payload a number":  signed("k1", encoded(`5`)),
		"wrong types":       signed("k1", encoded(`{"sub":7,"exp":"soon"}`)),
		"signature coded":   "k1." + encoded(`{}`) + ".!!",
		"unknown key":       signed("k2", encoded(`{}`)),
		"a key too short":   signed("short", encoded(`{}`)),
		"cut":               good[:len(good)-2],
	} {
		i, err := open(text, key)
		if !errors.Is(err, ErrInvalid) || fmt.Sprint(i) != fmt.Sprint(Identity{}) {
			t.Errorf("%s: %+v %v", name, i, err)
		}
		v := NewVerifier(func(context.Context) (map[string]ed25519.PublicKey, error) {
			return map[string]ed25519.PublicKey{"k1": pub}, nil
		})
		for range 2 { // the second time the keys were fetched already
			if _, err := v.open(t.Context(), text); !errors.Is(err, ErrInvalid) {
				t.Errorf("%s: %v by a verifier", name, err)
			}
		}
	}
}

// TestKeysCannotBeFetched checks that the error of fetching comes out, and that the next call fetches again.
func TestKeysCannotBeFetched(t *testing.T) {
	t.Parallel()
	signer, pub := newPair(t, "k1")
	away := errors.New("auth is away")
	broken, fetches := true, 0
	v := NewVerifier(func(context.Context) (map[string]ed25519.PublicKey, error) {
		fetches++
		if broken {
			return nil, away
		}
		return map[string]ed25519.PublicKey{"k1": pub}, nil
	})
	text, err := signer.Sign(Identity{AccountID: 3, Expires: time.Now().Add(time.Minute)})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if i, err := v.Verify(t.Context(), text); !errors.Is(err, away) || i.AccountID != 0 {
			t.Errorf("%+v %v", i, err)
		}
		if err := v.refresh(t.Context()); !errors.Is(err, away) {
			t.Error(err)
		}
	}
	broken = false
	if i, err := v.Verify(t.Context(), text); err != nil || i.AccountID != 3 || fetches != 5 {
		t.Errorf("%+v %v after %d fetches", i, err, fetches)
	}
}

// TestKeysAreFetchedAtIntervals counts fetches: a key id that is unknown makes at most one in refetchAfter.
func TestKeysAreFetchedAtIntervals(t *testing.T) {
	t.Parallel()
	_, pub := newPair(t, "k1")
	fetches, now := 0, time.Now()
	v := NewVerifier(func(context.Context) (map[string]ed25519.PublicKey, error) {
		fetches++
		return map[string]ed25519.PublicKey{"k1": pub}, nil
	})
	v.now = func() time.Time { return now }
	for _, want := range []struct {
		after time.Duration
		n     int
	}{{0, 1}, {0, 1}, {refetchAfter - 1, 1}, {1, 2}, {refetchAfter - 1, 2}, {1, 3}} {
		now = now.Add(want.after)
		if _, err := v.Verify(t.Context(), "k2.e30.AAAA"); !errors.Is(err, ErrInvalid) || fetches != want.n {
			t.Errorf("%v, %d fetches, want %d", err, fetches, want.n)
		}
	}
}

// TestVerifiedAreRemembered checks that an identity is verified once, that the memory is bounded, and the end of the
// identity.
func TestVerifiedAreRemembered(t *testing.T) {
	t.Parallel()
	signer, pub := newPair(t, "k1")
	v := NewVerifier(func(context.Context) (map[string]ed25519.PublicKey, error) {
		return map[string]ed25519.PublicKey{"k1": pub}, nil
	})
	now := time.Unix(1_000_000, 0)
	v.now = func() time.Time { return now }
	text := func(account int32) string {
		s, err := signer.Sign(Identity{AccountID: account, Expires: now.Add(time.Minute)})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	first := text(1)
	if _, err := v.Verify(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	v.keys = nil
	if i, err := v.Verify(t.Context(), first); err != nil || i.AccountID != 1 {
		t.Errorf("verified anew: %+v %v", i, err)
	}
	v.keys = map[string]ed25519.PublicKey{"k1": pub}
	for i := range maxVerified - 2 {
		v.verified[fmt.Sprint(i)] = Identity{}
	}
	for account, want := range []int{maxVerified, 1} {
		if _, err := v.Verify(t.Context(), text(int32(account+2))); err != nil || len(v.verified) != want {
			t.Errorf("%d are remembered, want %d: %v", len(v.verified), want, err)
		}
	}
	last := text(9)
	now = now.Add(time.Minute - 1)
	if _, err := v.Verify(t.Context(), last); err != nil {
		t.Errorf("a moment before its end: %v", err)
	}
	now = now.Add(1)
	if _, err := v.Verify(t.Context(), last); !errors.Is(err, ErrInvalid) {
		t.Errorf("at its end: %v", err)
	}
}

// TestRevokedBeforeItIsSeen has the revocation come before the identity.
func TestRevokedBeforeItIsSeen(t *testing.T) {
	t.Parallel()
	signer, pub := newPair(t, "k1")
	v := NewVerifier(func(context.Context) (map[string]ed25519.PublicKey, error) {
		return map[string]ed25519.PublicKey{"k1": pub}, nil
	})
	v.Revoke(30, 3, 0)
	v.Revoke(0, 4, 7)
	for _, i := range []Identity{{AccountID: 3, SessionID: 30}, {AccountID: 4, Revision: 6}} {
		i.Expires = time.Now().Add(time.Minute)
		text, err := signer.Sign(i)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if _, err := v.Verify(t.Context(), text); !errors.Is(err, ErrInvalid) {
				t.Errorf("%+v: %v", i, err)
			}
		}
	}
}

// TestSweep checks how long revocations are kept, and how often old ones are looked for.
func TestSweep(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_000_000, 0)
	for _, tt := range []struct {
		age, since time.Duration // of the revocation; since the last sweep
		kept       bool
	}{
		{2 * MaxLife, MaxLife, true},
		{2*MaxLife + 1, MaxLife, false},
		{2*MaxLife + 1, MaxLife - 1, true},
		{time.Second, MaxLife, true},
	} {
		r := newRevocations()
		r.sessions[1], r.accounts[2] = now.Add(-tt.age), revocation{revision: 4, at: now.Add(-tt.age)}
		r.swept = now.Add(-tt.since)
		r.sweep(now)
		want := map[bool]int{true: 1}[tt.kept]
		if len(r.sessions) != want || len(r.accounts) != want {
			t.Errorf("of age %s, %s after a sweep: %d sessions and %d accounts are kept", tt.age, tt.since, len(r.sessions), len(r.accounts))
		}
		if swept := r.swept.Equal(now); swept != (tt.since >= MaxLife) {
			t.Errorf("swept %s after a sweep: %v", tt.since, swept)
		}
	}
	r := newRevocations()
	r.add(0, 3, 5, now)
	r.add(0, 3, 5, now.Add(time.Second)) // again: counts from now
	if r.accounts[3].at != now.Add(time.Second) {
		t.Error("a revocation that comes again is not renewed")
	}
}

// TestNames checks what records show.
func TestNames(t *testing.T) {
	t.Parallel()
	if n := (Identity{Email: "a@b"}).Name(); n != "a@b" {
		t.Error(n)
	}
	if n := (Identity{Email: "a@b", Actor: "vm"}).Name(); n != "a@b (by vm)" {
		t.Error(n)
	}
	signer, _ := newPair(t, "k1")
	if text, err := signer.Sign(Identity{Expires: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)}); err == nil || text != "" {
		t.Errorf("a time that cannot be written is signed: %q", text)
	}
}
