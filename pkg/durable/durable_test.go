package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var errBroken = errors.New("broken")

// broken is a disk that fails at its n-th operation and records all operations.
type broken struct {
	disk
	at   int
	done []string
}

func (b *broken) op(name string) error {
	b.done = append(b.done, name)
	if len(b.done) == b.at {
		return errBroken
	}
	return nil
}

func (b *broken) create(path string, mode fs.FileMode) (file, error) {
	if err := b.op("create"); err != nil {
		return nil, err
	}
	f, err := b.disk.create(path, mode)
	return &brokenFile{f, b}, err
}

func (b *broken) rename(from, to string) error {
	if err := b.op("rename"); err != nil {
		return err
	}
	return b.disk.rename(from, to)
}

func (b *broken) syncDir(dir string) error {
	if err := b.op("sync directory"); err != nil {
		return err
	}
	return b.disk.syncDir(dir)
}

type brokenFile struct {
	file
	b *broken
}

// Write writes half of p when it fails.
func (f *brokenFile) Write(p []byte) (int, error) {
	if err := f.b.op("write"); err != nil {
		n, _ := f.file.Write(p[:len(p)/2])
		return n, err
	}
	return f.file.Write(p)
}

func (f *brokenFile) Sync() error {
	if err := f.b.op("sync"); err != nil {
		return err
	}
	return f.file.Sync()
}

// TestReplaceIsWholeOrNot makes every operation fail in turn: the file holds the old content until the rename, then the new
// content, and each failure is returned.
func TestReplaceIsWholeOrNot(t *testing.T) {
	t.Parallel()
	const order = "create write sync rename sync directory"
	for at := range 6 {
		t.Run(fmt.Sprint("operation ", at), func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "f")
			if err := Replace(path, []byte("old"), 0o600); err != nil {
				t.Fatal(err)
			}
			b := &broken{at: at}
			err := replace(b, path, []byte("newer"), 0o600)
			if errors.Is(err, errBroken) != (at > 0) {
				t.Errorf("replace: %v", err)
			}
			want := "old"
			if at == 0 || at == 5 {
				want = "newer"
			}
			if got, err := os.ReadFile(path); err != nil || string(got) != want {
				t.Errorf("the file holds %q, want %q: %v", got, want, err)
			}
			if done := strings.Join(b.done, " "); !strings.HasPrefix(order, done) {
				t.Errorf("done: %s", done)
			}
			if err := Replace(path, []byte("last"), 0o600); err != nil { // over what the failure left
				t.Error(err)
			}
		})
	}
}

func TestReplaceSetsTheMode(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path+Partial, []byte("left by a crash"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := Replace(path, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	if i, err := os.Stat(path); err != nil || i.Mode().Perm() != 0o600 {
		t.Errorf("mode %v: %v", i.Mode(), err)
	}
}

func TestCreateKeepsTheFirstValue(t *testing.T) {
	t.Parallel()
	path, n := filepath.Join(t.TempDir(), "id"), 0
	for range 3 {
		got, err := Create(path, 0o600, func() (string, error) { n++; return fmt.Sprint("value ", n), nil })
		if err != nil || got != "value 1" {
			t.Errorf("%q, %v", got, err)
		}
	}
	if err := os.Truncate(path, 0); err != nil {
		t.Fatal(err)
	}
	got, err := Create(path, 0o600, func() (string, error) { return "another", nil })
	if !errors.Is(err, ErrEmpty) || got != "" || !strings.Contains(err.Error(), path) {
		t.Errorf("an empty file: %q, %v", got, err)
	}
	if _, err := Create(path+"2", 0o600, func() (string, error) { return "", errBroken }); !errors.Is(err, errBroken) {
		t.Errorf("no value: %v", err)
	}
	if _, err := os.Stat(path + "2"); !errors.Is(err, fs.ErrNotExist) {
		t.Error("a file without a value was made")
	}
}
