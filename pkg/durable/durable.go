// Package durable writes files that survive a power loss: after a crash a file holds its old content or its new content, and
// after a successful call the new content.
package durable

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Partial is the suffix of a file that is not finished. After a crash such a file may be left; it means nothing.
const Partial = ".partial"

// Replace makes data the content of the file at path. The file gets the mode, minus the umask.
func Replace(path string, data []byte, mode fs.FileMode) error {
	return replace(disk{}, path, data, mode)
}

// Create returns the content of the file at path without the space around it. If there is no such file, Create makes one from
// value. A file without any content is an error: it was damaged, and what it named cannot be guessed.
func Create(path string, mode fs.FileMode, value func() (string, error)) (string, error) {
	text, err := Read(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return text, err
	}
	v, err := value()
	if err != nil {
		return "", err
	}
	return v, Replace(path, []byte(v+"\n"), mode)
}

// Read returns the content of a file that Create made, without the space around it.
func Read(path string) (string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	if len(text) == 0 {
		return "", fmt.Errorf("%s is empty: %w", path, ErrEmpty)
	}
	return strings.TrimSpace(string(text)), nil
}

// ErrEmpty is the error of a file that lost its content.
var ErrEmpty = errors.New("the file lost its content: bring it back from a backup, or remove it if nothing depends on it")

// Rename gives the file at tmp, whose content is on the disk, the name path. It returns once the name is on the disk.
func Rename(tmp, path string) error { return rename(disk{}, tmp, path) }

// SyncDir returns once the names in a directory are on the disk.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = errors.Join(d.Sync(), d.Close())
	if errors.Is(err, fs.ErrInvalid) {
		return nil // a file system that cannot sync directories
	}
	return err
}

// system is what this package does with a disk. Tests have one that fails.
type system interface {
	create(path string, mode fs.FileMode) (file, error)
	rename(from, to string) error
	syncDir(dir string) error
}

type file interface {
	io.WriteCloser
	Sync() error
}

type disk struct{}

// create removes what a crash left, because that may have another mode.
func (disk) create(path string, mode fs.FileMode) (file, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, mode)
}

func (disk) rename(from, to string) error { return os.Rename(from, to) }
func (disk) syncDir(dir string) error     { return SyncDir(dir) }

func replace(s system, path string, data []byte, mode fs.FileMode) error {
	f, err := s.create(path+Partial, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync() // before the rename: else the name may survive a power loss and the content not
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", filepath.Base(path), err)
	}
	return rename(s, path+Partial, path)
}

func rename(s system, tmp, path string) error {
	if err := s.rename(tmp, path); err != nil {
		return err
	}
	return s.syncDir(filepath.Dir(path))
}
