//go:build libvirt_dlopen

package libvirt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/google/uuid"
	lv "libvirt.org/go/libvirt"

	"slipway.dev/pkg/durable"
	"slipway.dev/services/node/internal/hyper"
	"slipway.dev/services/node/internal/image"
)

// AddCD moves a file into the directory of a machine.
func (d *Driver) AddCD(ctx context.Context, id uuid.UUID, name, path string) error {
	if err := hyper.CheckDiskName(name); err != nil {
		return err
	}
	return d.with(ctx, id, func(*lv.Connect, *domain) error {
		if err := d.files.make(id); err != nil {
			return err
		}
		return full(image.Commit(path, d.files.path(id, cdFile(name)), d.files.adopt))
	})
}

// MoveDisk moves the file of a disk from the directory of one machine to that of another.
func (d *Driver) MoveDisk(ctx context.Context, from uuid.UUID, name string, to uuid.UUID, newName string) error {
	if err := errors.Join(hyper.CheckDiskName(name), hyper.CheckDiskName(newName)); err != nil {
		return err
	}
	if from == to {
		return hyper.ErrInvalid.With("the machine has the disk already").On("to")
	}
	ids := []uuid.UUID{from, to}
	slices.SortFunc(ids, func(a, b uuid.UUID) int { return bytes.Compare(a[:], b[:]) }) // so that two calls never wait for each other
	for _, id := range ids {
		unlock, err := d.locks.lock(ctx, id)
		if err != nil {
			return err
		}
		defer unlock()
	}
	return d.conn.do(ctx, func(c *lv.Connect) error {
		return d.on(c, from, func(dom *domain) error {
			if err := d.unused(dom, from, name); err != nil {
				return err
			}
			return d.on(c, to, func(*domain) error {
				return d.files.moveDisk(from, name, to, newName)
			})
		})
	})
}

// unused returns ErrDiskInUse if a machine uses a disk or a CD. dom is nil for a machine that is not defined.
func (d *Driver) unused(dom *domain, id uuid.UUID, name string) error {
	if dom == nil {
		return nil
	}
	used, err := uses(dom, d.files.path(id, diskFile(name)), d.files.path(id, cdFile(name)))
	if err == nil && used {
		err = hyper.ErrDiskInUse.With("the machine uses disk %s", name)
	}
	return err
}

// RemoveDisk deletes the file of a disk or of a CD.
func (d *Driver) RemoveDisk(ctx context.Context, id uuid.UUID, name string) error {
	if err := hyper.CheckDiskName(name); err != nil {
		return err
	}
	return d.with(ctx, id, func(_ *lv.Connect, dom *domain) error {
		if err := d.unused(dom, id, name); err != nil {
			return err
		}
		return d.files.removeDisk(id, name)
	})
}

// uses reports whether a domain is defined with one of these files as a disk, or runs with it.
func uses(dom *domain, paths ...string) (bool, error) {
	for _, flags := range []lv.DomainXMLFlags{lv.DOMAIN_XML_INACTIVE, 0} { // without a flag: as it runs, if it does
		x, err := read(dom.Domain, flags)
		if err != nil {
			return false, err
		}
		if x.Devices == nil {
			continue
		}
		for _, disk := range x.Devices.Disks {
			if slices.Contains(paths, fileOf(disk)) {
				return true, nil
			}
		}
	}
	return false, nil
}

// removeDisk deletes a disk or a CD, and what a creation that did not end left of it.
func (f *files) removeDisk(id uuid.UUID, name string) error {
	gone := false
	for _, file := range []string{diskFile(name) + ".partial", diskFile(name), cdFile(name)} {
		err := f.root.Remove(filepath.Join(id.String(), file))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("delete disk: %w", err)
		}
		gone = gone || err == nil
	}
	if !gone {
		return nil
	}
	return durable.SyncDir(f.path(id, ""))
}

// moveDisk moves the file of a disk. A directory that is empty then is removed.
func (f *files) moveDisk(from uuid.UUID, name string, to uuid.UUID, newName string) error {
	source, target := filepath.Join(from.String(), diskFile(name)), filepath.Join(to.String(), diskFile(newName))
	there, twice := f.has(from, diskFile(name)), f.has(to, diskFile(newName))
	switch {
	case there && twice:
		return hyper.ErrInvalid.With("the machine has another disk %s", newName).On("new_name")
	case !there && !twice:
		return hyper.ErrNoDisk.With("disk %s is not there", name)
	case there:
		if err := f.make(to); err != nil {
			return err
		}
		if err := f.root.Rename(source, target); err != nil {
			return full(fmt.Errorf("move disk: %w", err))
		}
	}
	// A call that was repeated may have ended before this.
	if err := durable.SyncDir(f.path(to, "")); err != nil {
		return err
	}
	if err := durable.SyncDir(f.path(from, "")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := f.root.Remove(from.String()); err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTEMPTY) {
		return fmt.Errorf("remove an empty directory: %w", err)
	}
	return durable.SyncDir(f.dir)
}
