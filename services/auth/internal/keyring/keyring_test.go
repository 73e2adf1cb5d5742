package keyring_test

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"slipway.dev/pkg/identity"
	"slipway.dev/pkg/outbox"
	"slipway.dev/pkg/pg/pgtest"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/auth/internal/keyring"
	"slipway.dev/services/auth/internal/schema"
	"slipway.dev/services/auth/internal/seal"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// db is a database and what runs on it.
type db struct {
	pool *pgxpool.Pool
	db   *unit.DB
}

func newDB(t *testing.T) db {
	t.Helper()
	pool := pgtest.New(t, outbox.Migrations, schema.Migrations)
	return db{pool, &unit.DB{Pool: pool}}
}

func (d db) open(ctx context.Context, masterKeys ...string) (*keyring.Ring, error) {
	box, err := seal.Parse(strings.Join(masterKeys, ","))
	if err != nil {
		return nil, err
	}
	return keyring.Open(ctx, d.db, box)
}

func (d db) mustOpen(t *testing.T, masterKeys ...string) *keyring.Ring {
	t.Helper()
	r, err := d.open(t.Context(), masterKeys...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (d db) exec(t *testing.T, sql string, args ...any) {
	t.Helper()
	if _, err := d.pool.Exec(t.Context(), sql, args...); err != nil {
		t.Fatal(err)
	}
}

// dump is all that the database shows of its keys.
func (d db) dump(t *testing.T) (text string) {
	t.Helper()
	err := d.pool.QueryRow(t.Context(), `SELECT coalesce(string_agg(k::text, ' ' ORDER BY id), '') FROM signing_key k`).Scan(&text)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func current(r *keyring.Ring) string {
	id, _ := r.Current()
	return id
}

func TestSealed(t *testing.T) {
	t.Parallel()
	d, master := newDB(t), seal.NewKey()
	r := d.mustOpen(t, master)
	_, private := r.Current()
	if strings.Contains(d.dump(t), hex.EncodeToString(private.Seed())) {
		t.Error("a dump of the database shows the seed")
	}
	again := d.mustOpen(t, master)
	if _, p := again.Current(); !p.Equal(private) {
		t.Error("another process signs with another key")
	}
}

// TestPlain: what an older version left in plain is sealed, by whichever process comes first, and replaced.
func TestPlain(t *testing.T) {
	t.Parallel()
	d, master := newDB(t), seal.NewKey()
	seed := sha256.Sum256([]byte("an old seed"))
	d.exec(t, `INSERT INTO signing_key (id, seed, created_at, signs_from) VALUES ('0a', $1, now() - interval '1 day', now() - interval '1 day')`, seed[:])
	signer := identity.NewSigner("0a", ed25519.NewKeyFromSeed(seed[:]))
	old, err := signer.Sign(identity.Identity{AccountID: 7, Expires: time.Now().Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	rings, errs := make(chan *keyring.Ring, 4), make(chan error, 4)
	for range 4 {
		go func() {
			r, err := d.open(t.Context(), master)
			rings <- r
			errs <- err
		}()
	}
	var r *keyring.Ring
	for range 4 {
		if err := <-errs; err != nil {
			t.Fatal(err)
		}
		r = <-rings
		if current(r) != "0a" {
			t.Errorf("%s signs before its notice is over", current(r))
		}
	}
	if strings.Contains(d.dump(t), hex.EncodeToString(seed[:])) {
		t.Error("a dump of the database shows the old seed")
	}
	if keys, err := r.Public(t.Context()); err != nil || len(keys) != 2 {
		t.Errorf("%d keys, want the old one and its successor: %v", len(keys), err)
	}
	if i, err := identity.NewVerifier(r.Public).Verify(t.Context(), old); err != nil || i.AccountID != 7 {
		t.Errorf("what the old key signed: %v %v", i, err)
	}
}

func TestWrongMasterKey(t *testing.T) {
	t.Parallel()
	d, right := newDB(t), seal.NewKey()
	d.mustOpen(t, right)
	before := d.dump(t)
	seed := sha256.Sum256([]byte("in plain"))
	d.exec(t, `INSERT INTO signing_key (id, seed) VALUES ('0', $1)`, seed[:])
	if _, err := d.open(t.Context(), seal.NewKey()); !errors.Is(err, seal.ErrUnknownKey) {
		t.Errorf("a foreign master key: %v", err)
	}
	d.exec(t, `DELETE FROM signing_key WHERE seed IS NOT NULL`) // still in plain: nothing was half done
	if after := d.dump(t); after != before {
		t.Errorf("it changed what it could not read:\n%s\n%s", before, after)
	}
	d.exec(t, `UPDATE signing_key SET id = 'ff'`)
	if _, err := d.open(t.Context(), right); !errors.Is(err, seal.ErrForged) {
		t.Errorf("a row under another name: %v", err)
	}
}

func TestMasterKeyRotation(t *testing.T) {
	t.Parallel()
	d, old, fresh := newDB(t), seal.NewKey(), seal.NewKey()
	id := current(d.mustOpen(t, old))
	d.mustOpen(t, old, fresh)
	if _, err := d.open(t.Context(), fresh); err == nil {
		t.Error("nothing was sealed with the new key yet")
	}
	d.mustOpen(t, fresh, old)
	if got := current(d.mustOpen(t, fresh)); got != id {
		t.Errorf("%s signs, want %s: a new master key is no new signing key", got, id)
	}
}

// TestRenewal follows a key from its notice to its end, as two processes see it.
func TestRenewal(t *testing.T) {
	t.Parallel()
	d, master := newDB(t), seal.NewKey()
	one, two := d.mustOpen(t, master), d.mustOpen(t, master)
	first := current(one)
	renew := func() {
		t.Helper()
		for _, r := range []*keyring.Ring{one, two, one} {
			if err := r.Renew(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if current(one) != current(two) {
			t.Errorf("two processes sign with %s and %s", current(one), current(two))
		}
	}
	known := func() (list []string) {
		keys, err := two.Public(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for id := range keys {
			list = append(list, id)
		}
		return list
	}
	age := func(interval string) {
		t.Helper()
		d.exec(t, `UPDATE signing_key SET signs_from = signs_from - $1::text::interval`, interval)
	}
	renew()
	if len(known()) != 1 {
		t.Errorf("a young key got a successor: %v", known())
	}
	signed, err := one.Sign(identity.Identity{AccountID: 7, Expires: time.Now().Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	age("31 days")
	renew()
	if len(known()) != 2 || current(one) != first {
		t.Errorf("known %v, signs %s: the next one is known before it signs", known(), current(one))
	}
	age("2 minutes")
	renew()
	if len(known()) != 2 || current(one) == first {
		t.Errorf("known %v, signs %s: the next one signs", known(), current(one))
	}
	if _, err := identity.NewVerifier(two.Public).Verify(t.Context(), signed); err != nil {
		t.Errorf("what the first one signed is still alive: %v", err)
	}
	age("26 hours")
	renew()
	if list := known(); len(list) != 1 || list[0] == first {
		t.Errorf("known %v: the first one is over", list)
	}
}
