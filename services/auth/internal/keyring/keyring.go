// Package keyring keeps the keys that sign identities: sealed in the database, replaced every month, the same in every
// process.
package keyring

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"slipway.dev/pkg/identity"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/auth/internal/seal"
)

const (
	// life is how long a key signs.
	life = 30 * 24 * time.Hour
	// notice is how long a key is known before it signs. A verifier that meets a key id that it does not know fetches
	// the keys, unless it did just now; and then it knows this one.
	notice = time.Minute
	// Overlap is how long a key verifies after it signed for the last time: longer than anything that it signed lives.
	Overlap = 25 * time.Hour
)

// Ring is the keys as they were when they were last read.
type Ring struct {
	db  *unit.DB
	box *seal.Box
	now atomic.Pointer[signing]
}

type signing struct {
	id      string
	private ed25519.PrivateKey
	signer  *identity.Signer
}

// Open reads the keys, and makes the first. Those in plain or under an older master key are sealed with the newest,
// all or none, so that a master key that is not the right one changes nothing.
func Open(ctx context.Context, db *unit.DB, b *seal.Box) (*Ring, error) {
	r := &Ring{db: db, box: b}
	err := r.change(ctx, func(tx *unit.Tx, keys []signingKey) error {
		plain := false
		for _, k := range keys {
			seed, err := r.seed(k)
			if err != nil {
				return err
			}
			plain = plain || k.Sealed == nil
			if k.Sealed != nil && !b.Stale(k.Sealed) {
				continue
			}
			if err := setSealed(ctx, tx, r.sealed(k.ID, seed)); err != nil {
				return err
			}
		}
		switch {
		case len(keys) == 0:
			return insert(ctx, tx, r.fresh(), 0)
		case plain: // backups still show it
			return insert(ctx, tx, r.fresh(), notice)
		}
		return nil
	})
	return r, err
}

// Renew makes the next key when it is time, removes those that nothing alive was signed with, and reads all anew. Every
// process does so again and again.
func (r *Ring) Renew(ctx context.Context) error {
	return r.change(ctx, func(tx *unit.Tx, _ []signingKey) error {
		due, err := allOlder(ctx, tx, life)
		if err != nil {
			return err
		}
		if due {
			if err := insert(ctx, tx, r.fresh(), notice); err != nil {
				return err
			}
		}
		return deleteOld(ctx, tx, Overlap)
	})
}

// Sign signs an identity.
func (r *Ring) Sign(i identity.Identity) (string, error) { return r.now.Load().signer.Sign(i) }

// Current is the key that signs now and its id.
func (r *Ring) Current() (id string, key ed25519.PrivateKey) {
	now := r.now.Load()
	return now.id, now.private
}

// Public reads the keys that verify, by their ids.
func (r *Ring) Public(ctx context.Context) (map[string]ed25519.PublicKey, error) {
	list, err := readAll(ctx, r.db)
	keys := map[string]ed25519.PublicKey{}
	for _, k := range list {
		if len(k.Public) == ed25519.PublicKeySize {
			keys[k.ID] = k.Public
		}
	}
	return keys, err
}

// change runs do on the keys, one process at a time, and then signs with the key that signs now.
func (r *Ring) change(ctx context.Context, do func(*unit.Tx, []signingKey) error) error {
	var next *signing
	err := r.db.InTx(ctx, func(tx *unit.Tx) error {
		if err := tx.Lock(ctx, "signing key"); err != nil {
			return err
		}
		keys, err := readAll(ctx, tx)
		if err != nil {
			return err
		}
		if err := do(tx, keys); err != nil {
			return err
		}
		if keys, err = readAll(ctx, tx); err != nil {
			return err
		}
		next, err = r.signs(keys)
		return err
	})
	if err == nil {
		r.now.Store(next)
	}
	return err
}

func (r *Ring) signs(keys []signingKey) (*signing, error) {
	for _, k := range keys {
		if !k.Signs {
			continue
		}
		seed, err := r.seed(k)
		if err != nil {
			return nil, err
		}
		private := ed25519.NewKeyFromSeed(seed)
		return &signing{id: k.ID, private: private, signer: identity.NewSigner(k.ID, private)}, nil
	}
	return nil, errors.New("no key signs")
}

func (r *Ring) seed(k signingKey) ([]byte, error) {
	if k.Sealed == nil {
		return k.Seed, nil
	}
	seed, err := r.box.Open(k.Sealed, about(k.ID))
	if err == nil && !ed25519.NewKeyFromSeed(seed).Public().(ed25519.PublicKey).Equal(ed25519.PublicKey(k.Public)) {
		err = seal.ErrForged
	}
	if err != nil {
		return nil, fmt.Errorf("the key %s in the database: %w", k.ID, err)
	}
	return seed, nil
}

func (r *Ring) fresh() signingKey {
	var b [ed25519.SeedSize + 4]byte
	_, _ = rand.Read(b[:]) // never fails
	return r.sealed(hex.EncodeToString(b[ed25519.SeedSize:]), b[:ed25519.SeedSize])
}

func (r *Ring) sealed(id string, seed []byte) signingKey {
	public := ed25519.NewKeyFromSeed(seed).Public().(ed25519.PublicKey)
	return signingKey{ID: id, Sealed: r.box.Seal(seed, about(id)), Public: public}
}

func about(id string) string { return "signing_key " + id }
