package identity

import (
	"context"
	"crypto/ed25519"
	"sync"
	"time"
)

// refetchAfter is the least time between two fetches of keys, so that forged key ids cannot make a service ask auth for
// every request.
const refetchAfter = 2 * time.Second

// maxVerified bounds the number of cached identities.
const maxVerified = 10_000

// Verifier checks signed identities. A signature costs some 70 µs to verify, so verified identities are cached until they
// expire.
type Verifier struct {
	fetch func(context.Context) (map[string]ed25519.PublicKey, error)
	now   func() time.Time

	mu       sync.RWMutex
	keys     map[string]ed25519.PublicKey
	fetched  time.Time
	verified map[string]Identity
	revoked  revocations
}

// NewVerifier makes a verifier that calls fetch for keys when it meets an unknown key id.
func NewVerifier(fetch func(context.Context) (map[string]ed25519.PublicKey, error)) *Verifier {
	return &Verifier{fetch: fetch, now: time.Now, verified: map[string]Identity{}, revoked: newRevocations()}
}

// Verify returns the identity in text, or ErrInvalid, or the error of fetching keys.
func (v *Verifier) Verify(ctx context.Context, text string) (Identity, error) {
	v.mu.RLock()
	i, ok := v.verified[text]
	revoked := ok && v.revoked.has(i)
	v.mu.RUnlock()
	if !ok {
		var err error
		if i, err = v.open(ctx, text); err != nil {
			return Identity{}, err
		}
		revoked = v.remember(text, i)
	}
	if revoked || !v.now().Before(i.Expires) {
		return Identity{}, ErrInvalid
	}
	return i, nil
}

// Revoke makes Verify refuse the identities of a session, or, with session 0, those of an account with a lower revision.
func (v *Verifier) Revoke(session, account, revision int32) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.revoked.add(session, account, revision, v.now())
}

func (v *Verifier) open(ctx context.Context, text string) (Identity, error) {
	v.mu.RLock()
	before := v.fetched
	v.mu.RUnlock()
	i, err := open(text, v.key)
	if err == nil {
		return i, nil
	}
	if err := v.refresh(ctx); err != nil {
		return Identity{}, err
	}
	v.mu.RLock()
	same := v.fetched.Equal(before)
	v.mu.RUnlock()
	if same {
		return Identity{}, err
	}
	return open(text, v.key) // another call may have fetched newer keys
}

func (v *Verifier) key(id string) ed25519.PublicKey {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.keys[id]
}

// refresh fetches the keys unless they were fetched less than refetchAfter ago.
func (v *Verifier) refresh(ctx context.Context) error {
	now := v.now()
	v.mu.RLock()
	recent := now.Sub(v.fetched) < refetchAfter
	v.mu.RUnlock()
	if recent {
		return nil
	}
	keys, err := v.fetch(ctx)
	if err != nil {
		return err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.keys, v.fetched = keys, v.now()
	return nil
}

// remember caches the identity and reports whether it is revoked.
func (v *Verifier) remember(text string, i Identity) (revoked bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.verified) >= maxVerified {
		clear(v.verified)
	}
	v.verified[text] = i
	return v.revoked.has(i)
}
