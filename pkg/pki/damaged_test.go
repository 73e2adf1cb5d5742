package pki

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestDamagedAuthority truncates or removes files of an authority. A new authority is made only if no certificate of an old one
// is left.
func TestDamagedAuthority(t *testing.T) {
	t.Parallel()
	empty := func(path string) error { return os.Truncate(path, 0) }
	for _, c := range []struct {
		name   string
		damage func(string) error
		file   string
		anew   bool
	}{
		{"empty key", empty, caKey, false},
		{"empty certificate", empty, caCert, false},
		{"no key", os.Remove, caKey, false},
		{"no certificate", os.Remove, caCert, true}, // the key is written first: a first start that was cut off
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			if _, err := OpenAuthority(dir); err != nil {
				t.Fatal(err)
			}
			if err := c.damage(filepath.Join(dir, c.file)); err != nil {
				t.Fatal(err)
			}
			_, err := OpenAuthority(dir)
			switch {
			case c.anew && err != nil:
				t.Errorf("no new authority was made: %v", err)
			case !c.anew && (err == nil || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "backup")):
				t.Errorf("%v: the error does not say what to do", err)
			}
		})
	}
}

// TestDamagedKeyIsDue: a service's certificate can be made anew at any time, so an empty key is replaced.
func TestDamagedKeyIsDue(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := Write(dir, time.Hour, "vm"); err != nil {
		t.Fatal(err)
	}
	a, err := OpenAuthority(dir)
	if err != nil || a.Due(dir, "vm", time.Now()) {
		t.Fatalf("a new certificate is due: %v", err)
	}
	if err := os.Truncate(filepath.Join(dir, "vm.key"), 0); err != nil {
		t.Fatal(err)
	}
	if !a.Due(dir, "vm", time.Now()) {
		t.Error("the empty key stays")
	}
}
