package console_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"slipway.dev/services/node/internal/console"
)

func TestTrim(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	path := filepath.Join(dir, "c")
	writer, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close()
	write := func(b []byte) {
		t.Helper()
		if _, err := writer.Write(b); err != nil {
			t.Fatal(err)
		}
	}
	write(bytes.Repeat([]byte("x"), console.Limit))
	if err := console.Trim(root, "c"); err != nil {
		t.Fatal(err)
	}
	if st, _ := os.Stat(path); st.Size() != console.Limit {
		t.Errorf("cut at the limit: %d", st.Size())
	}
	write([]byte("last"))
	if err := console.Trim(root, "c"); err != nil {
		t.Fatal(err)
	}
	write([]byte(" words"))
	if st, _ := os.Stat(path); st.Size() != console.Keep+6 {
		t.Errorf("size %d after the cut", st.Size())
	}
	if got, err := console.Tail(root, "c", 11); err != nil || string(got) != "xlast words" {
		t.Errorf("tail %q %v", got, err)
	}
	if got, err := console.Tail(root, "none", 11); err != nil || got != nil {
		t.Errorf("no file: %q %v", got, err)
	}
}

func TestLinksAreNotFollowed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	victim := filepath.Join(dir, "victim")
	if err := os.WriteFile(victim, make([]byte, 2*console.Limit), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("victim", filepath.Join(dir, "c")); err != nil {
		t.Fatal(err)
	}
	if err := console.Trim(root, "c"); err == nil {
		t.Error("trimmed through a link")
	}
	if b, err := console.Tail(root, "c", 10); err == nil {
		t.Errorf("read %q through a link", b)
	}
	if st, _ := os.Stat(victim); st.Size() != 2*console.Limit {
		t.Error("the victim was cut")
	}
}
