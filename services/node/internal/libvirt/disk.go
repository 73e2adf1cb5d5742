//go:build libvirt_dlopen

package libvirt

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

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

// RemoveDisk deletes the file of a disk or of a CD.
func (d *Driver) RemoveDisk(ctx context.Context, id uuid.UUID, name string) error {
	if err := hyper.CheckDiskName(name); err != nil {
		return err
	}
	return d.with(ctx, id, func(_ *lv.Connect, dom *domain) error {
		if dom != nil {
			used, err := uses(dom, d.files.path(id, diskFile(name)), d.files.path(id, cdFile(name)))
			if err != nil {
				return err
			}
			if used {
				return hyper.ErrDiskInUse.With("the machine uses disk %s", name)
			}
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
			if disk.Source != nil && disk.Source.File != nil && slices.Contains(paths, disk.Source.File.File) {
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
