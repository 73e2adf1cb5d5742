package libvirt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/google/uuid"

	"slipway.dev/pkg/durable"
	"slipway.dev/services/node/internal/console"
	"slipway.dev/services/node/internal/hyper"
	"slipway.dev/services/node/internal/image"
	"slipway.dev/services/node/internal/seed"
	"slipway.dev/services/node/internal/template"
)

// files are the machines' directories: machines/<uuid>/{<disk>.qcow2, <CD>.iso, seed.iso, console.log}.
type files struct {
	dir       string
	root      *os.Root
	owner     owner
	tool      image.Tool
	templates *template.Store
}

func openFiles(cfg Config, o owner) (*files, error) {
	tool, err := image.Find()
	if err != nil {
		return nil, err
	}
	f := &files{dir: filepath.Join(cfg.Root, "machines"), owner: o, tool: tool, templates: cfg.Templates}
	if err := os.MkdirAll(f.dir, 0o711); err != nil {
		return nil, fmt.Errorf("make machine directory: %w", err)
	}
	if err := os.Chmod(f.dir, 0o711); err != nil {
		return nil, err
	}
	f.root, err = os.OpenRoot(f.dir)
	return f, err
}

func (f *files) close() error { return f.root.Close() }

func (f *files) path(id uuid.UUID, name string) string {
	return filepath.Join(f.dir, id.String(), name)
}

func (f *files) has(id uuid.UUID, name string) bool {
	st, err := f.root.Lstat(filepath.Join(id.String(), name))
	return err == nil && st.Mode().IsRegular()
}

// make makes the machine's directory: the hypervisor's user may pass through it, but other users cannot list it.
func (f *files) make(id uuid.UUID) error {
	switch err := f.root.Mkdir(id.String(), 0o711); {
	case errors.Is(err, fs.ErrExist):
		return nil
	case err != nil:
		return full(err)
	}
	if err := f.root.Chmod(id.String(), 0o711); err != nil {
		return err
	}
	return durable.SyncDir(f.dir)
}

// adopt gives a disk to the user that qemu runs as.
func (f *files) adopt(file *os.File) error {
	if err := file.Chmod(0o600); err != nil || f.owner.uid == os.Geteuid() {
		return err
	}
	return file.Chown(f.owner.uid, f.owner.gid)
}

// disk makes the disk if it is missing. grow is the size in bytes to which an existing disk must grow, 0 if its size is right.
func (f *files) disk(ctx context.Context, id uuid.UUID, d hyper.Disk) (grow int64, err error) {
	var base *image.Base
	size := d.SizeMiB << 20
	if d.Template != "" {
		t, err := f.templates.Get(d.Template)
		if err != nil {
			return 0, err
		}
		if size < t.VirtualSize {
			return 0, hyper.ErrInvalid.With("the template has %d MiB, the disk only %d", t.VirtualSize>>20, d.SizeMiB).On("size_mib")
		}
		base = &image.Base{Path: t.Path, Format: t.Format}
	}
	if err := f.make(id); err != nil {
		return 0, err
	}
	path := f.path(id, diskFile(d.Name))
	have, err := image.Overlay(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return 0, f.tool.Create(ctx, path, size, base, f.adopt)
	case err != nil:
		return 0, fmt.Errorf("read disk %s: %w", d.Name, err)
	case (base == nil && have.Backing != "") || (base != nil && have.Backing != base.Path):
		return 0, hyper.ErrInvalid.With("disk %s exists and starts from another template", d.Name).On("template")
	case have.VirtualSize > size:
		return 0, hyper.ErrDiskShrinks.With("disk %s has %d MiB", d.Name, have.VirtualSize>>20)
	case have.VirtualSize < size:
		return size, nil
	}
	return 0, nil
}

// seed writes the seed unless the same seed is there already. A running machine keeps the file that it opened.
func (f *files) seed(id uuid.UUID, s hyper.Seed) error {
	docs, err := seed.Render(s)
	if err != nil {
		return err
	}
	img, err := seed.Image(docs)
	if err != nil {
		return err
	}
	if err := f.make(id); err != nil {
		return err
	}
	name := filepath.Join(id.String(), seedFile)
	if have, err := f.root.ReadFile(name); err == nil && bytes.Equal(have, img) {
		return nil
	}
	if err := f.root.WriteFile(name+".partial", img, 0o600); err != nil {
		return full(err)
	}
	path := f.path(id, seedFile)
	return image.Commit(path+".partial", path, f.adopt)
}

// console makes the log before the hypervisor does, so that other users cannot read it.
func (f *files) console(id uuid.UUID) error {
	c, err := f.root.OpenFile(filepath.Join(id.String(), consoleFile), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return full(err)
	}
	return c.Close()
}

func (f *files) tail(id uuid.UUID, max int) ([]byte, error) {
	dir, err := f.root.OpenRoot(id.String())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	return console.Tail(dir, consoleFile, max)
}

// trim bounds all consoles. A console that cannot be trimmed does not stop the others.
func (f *files) trim() error {
	dirs, err := fs.ReadDir(f.root.FS(), ".")
	if err != nil {
		return err
	}
	var errs []error
	for _, d := range dirs {
		dir, err := f.root.OpenRoot(d.Name())
		if err != nil {
			continue // removed meanwhile
		}
		if err := console.Trim(dir, consoleFile); err != nil {
			errs = append(errs, fmt.Errorf("trim console of %s: %w", d.Name(), err))
		}
		_ = dir.Close()
	}
	return errors.Join(errs...)
}

// remove deletes the machine's directory with its content.
func (f *files) remove(id uuid.UUID) error {
	if err := f.root.RemoveAll(id.String()); err != nil {
		return fmt.Errorf("delete files of %s: %w", id, err)
	}
	return nil
}

// direct reports whether the file system of the root can bypass the page cache.
func (f *files) direct() bool {
	path := filepath.Join(f.dir, ".direct")
	defer os.Remove(path)
	d, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|syscall.O_DIRECT, 0o600)
	if err != nil {
		return false
	}
	return d.Close() == nil
}

func full(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return hyper.ErrNoSpace.Wrap(err)
	}
	return err
}

// writeConf writes the settings by which an embedded libvirt runs qemu.
func writeConf(dir string, o owner) error {
	conf := strings.Join([]string{
		"# Written by the Slipway agent at every start.",
		fmt.Sprintf("user = %q", o.name),
		fmt.Sprintf("group = %q", fmt.Sprintf("+%d", o.gid)),
		`stdio_handler = "file"   # no virtlogd: consoles are bounded by the agent`,
		`remember_owner = 0       # files have their owner already`,
		`max_core = 0`,
		"",
	}, "\n")
	if err := os.MkdirAll(filepath.Join(dir, "etc"), 0o711); err != nil {
		return err
	}
	if err := os.Chmod(dir, 0o711); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "etc", "qemu.conf"), []byte(conf), 0o600)
}
