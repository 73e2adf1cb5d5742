package seal_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"slipway.dev/services/auth/internal/seal"
)

func box(t *testing.T, keys ...string) *seal.Box {
	t.Helper()
	b, err := seal.Parse(strings.Join(keys, "\n"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestSeal(t *testing.T) {
	t.Parallel()
	k1, k2 := seal.NewKey(), seal.NewKey()
	one, other, both := box(t, k1), box(t, k2), box(t, k2, k1)
	plain := []byte("a seed of thirty-two bytes in all")
	sealed := one.Seal(plain, "signing_key a")
	if bytes.Contains(sealed, plain[:8]) || bytes.Equal(sealed, one.Seal(plain, "signing_key a")) {
		t.Error("sealed twice it is the same, or not sealed at all")
	}
	for name, b := range map[string]*seal.Box{"the same box": one, "a box with a newer key": both} {
		if got, err := b.Open(sealed, "signing_key a"); err != nil || !bytes.Equal(got, plain) {
			t.Errorf("%s: %q %v", name, got, err)
		}
	}
	if _, err := other.Open(sealed, "signing_key a"); !errors.Is(err, seal.ErrUnknownKey) {
		t.Errorf("another key: %v", err)
	}
	if _, err := one.Open(sealed, "signing_key b"); !errors.Is(err, seal.ErrForged) {
		t.Errorf("in another row: %v", err)
	}
	for i := range sealed {
		changed := bytes.Clone(sealed)
		changed[i] ^= 1
		if _, err := one.Open(changed, "signing_key a"); err == nil {
			t.Errorf("byte %d changed and nobody saw it", i)
		}
	}
	for n := range sealed {
		if _, err := one.Open(sealed[:n], "signing_key a"); err == nil {
			t.Errorf("cut to %d bytes and nobody saw it", n)
		}
	}
}

func TestRotation(t *testing.T) {
	t.Parallel()
	old, fresh := seal.NewKey(), seal.NewKey()
	before, during, after := box(t, old), box(t, fresh+","+old), box(t, fresh)
	sealed := before.Seal([]byte("x"), "a")
	if before.Stale(sealed) || !during.Stale(sealed) {
		t.Error("stale is what an older key has sealed")
	}
	again := during.Seal([]byte("x"), "a")
	if got, err := after.Open(again, "a"); err != nil || string(got) != "x" {
		t.Errorf("%q %v", got, err)
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	short := base64.StdEncoding.EncodeToString(make([]byte, 16))
	for name, text := range map[string]string{
		"nothing": "", "blanks": " \n", "a password": "correct horse battery staple", "short": short,
		"one of two": seal.NewKey() + " " + short,
	} {
		_, err := seal.Parse(text)
		if err == nil || text != "" && strings.Contains(err.Error(), strings.Fields(text + " -")[0]) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
