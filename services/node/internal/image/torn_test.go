package image_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"slipway.dev/services/node/internal/image"
)

// version3 returns a qcow2 image of version 3 with these header extensions, each with 5 bytes of data and their padding.
func version3(extensions ...uint32) []byte {
	h := make([]byte, 4096)
	copy(h, "QFI\xfb")
	be := binary.BigEndian
	be.PutUint32(h[4:], 3)
	be.PutUint32(h[20:], 12) // clusters of 4096 bytes
	be.PutUint64(h[24:], 1<<20)
	be.PutUint32(h[100:], 104) // length of the header
	at := 104
	for _, kind := range extensions {
		be.PutUint32(h[at:], kind)
		be.PutUint32(h[at+4:], 5)
		at += 16
	}
	return h
}

const dataFile, featureNames = 0x44415441, 0x6803f857

func inspect(h []byte) error {
	_, err := image.Inspect(bytes.NewReader(h), int64(len(h)), image.QCOW2, 1<<30)
	return err
}

// TestExtensions: an extension that names an external data file is found behind others, and not behind the end mark.
func TestExtensions(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		list    []uint32
		refused bool
	}{
		{"none", nil, false},
		{"others", []uint32{featureNames, 0x23852875}, false},
		{"data file", []uint32{dataFile}, true},
		{"data file behind others", []uint32{featureNames, 0x23852875, dataFile}, true},
		{"data file behind the end", []uint32{featureNames, 0, dataFile}, false},
	} {
		if err := inspect(version3(tt.list...)); errors.Is(err, image.ErrRefused) != tt.refused || !tt.refused && err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	endless := version3(featureNames)
	binary.BigEndian.PutUint32(endless[108:], 1<<32-1)
	if err := inspect(endless); err != nil {
		t.Errorf("an extension that is longer than the cluster: %v", err)
	}
}

// TestTornHeader: an image that is cut off anywhere is accepted or refused; it is never another error, and one that is cut off in
// the fixed part of its header is never accepted.
func TestTornHeader(t *testing.T) {
	t.Parallel()
	whole := version3(featureNames, dataFile)
	for n := range 200 {
		err := inspect(whole[:n])
		if err != nil && !errors.Is(err, image.ErrRefused) {
			t.Errorf("cut off after %d bytes: %v", n, err)
		}
		if err == nil && n < 104 {
			t.Errorf("cut off after %d bytes: accepted", n)
		}
	}
}

// TestCommit: a file gets its name whole or not at all, and nothing else is left behind.
func TestCommit(t *testing.T) {
	t.Parallel()
	broken := errors.New("no such owner")
	for _, tt := range []struct {
		name  string
		adopt func(*os.File) error
		link  bool   // the temporary file is a symbolic link
		into  string // below the directory
		want  string // the content of the file afterwards
	}{
		{"good", nil, false, "file", "new"},
		{"adopt fails", func(*os.File) error { return broken }, false, "file", "old"},
		{"symbolic link", nil, true, "file", "old"},
		{"no directory", nil, false, "gone/file", ""},
	} {
		dir := t.TempDir()
		tmp, path, other := filepath.Join(dir, "tmp"), filepath.Join(dir, tt.into), filepath.Join(t.TempDir(), "other")
		err := errors.Join(os.WriteFile(filepath.Join(dir, "file"), []byte("old"), 0o600), os.WriteFile(other, []byte("x"), 0o600))
		if tt.link {
			err = errors.Join(err, os.Symlink(other, tmp))
		} else {
			err = errors.Join(err, os.WriteFile(tmp, []byte("new"), 0o600))
		}
		if err != nil {
			t.Fatal(err)
		}
		err = image.Commit(tmp, path, tt.adopt)
		if (err == nil) != (tt.want == "new") {
			t.Errorf("%s: %v", tt.name, err)
		}
		if got, _ := os.ReadFile(path); string(got) != tt.want {
			t.Errorf("%s: the file is %q, want %q", tt.name, got, tt.want)
		}
		if _, err := os.Lstat(tmp); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: the temporary file is left: %v", tt.name, err)
		}
		if got, _ := os.ReadFile(other); string(got) != "x" {
			t.Errorf("%s: a file behind a link became %q", tt.name, got)
		}
	}
}
