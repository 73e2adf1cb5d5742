// Package console reads and bounds the log files of serial consoles. A guest can write any amount, so the files are cut; symbolic
// links are never followed.
package console

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// A file over Limit is cut to its last Keep bytes.
const (
	Limit = 1 << 20
	Keep  = 256 << 10
)

// Tail returns the last max bytes of the file in dir, nothing if there is no file.
func Tail(dir *os.Root, name string, max int) ([]byte, error) {
	f, err := open(dir, name, os.O_RDONLY)
	if errors.Is(err, fs.ErrNotExist) || max <= 0 {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return tail(f, int64(max))
}

// Trim cuts a file that grew over Limit. The writer must append (O_APPEND), so that its next output follows the tail. Output
// during the cut is lost.
func Trim(dir *os.Root, name string) error {
	f, err := open(dir, name, os.O_RDWR)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil || st.Size() <= Limit {
		return err
	}
	keep, err := tail(f, Keep)
	if err != nil {
		return err
	}
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err = f.WriteAt(keep, 0)
	return err
}

func open(dir *os.Root, name string, flag int) (*os.File, error) {
	named, err := dir.Lstat(name)
	if err != nil {
		return nil, err
	}
	f, err := dir.OpenFile(name, flag|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	// A Root refuses links that lead outside; this refuses all links.
	if st, err := f.Stat(); err != nil || !named.Mode().IsRegular() || !os.SameFile(named, st) {
		_ = f.Close()
		return nil, errors.Join(errors.New("the console is not a regular file"), err)
	}
	return f, nil
}

func tail(f *os.File, max int64) ([]byte, error) {
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	return io.ReadAll(io.NewSectionReader(f, st.Size()-min(max, st.Size()), min(max, st.Size())))
}
