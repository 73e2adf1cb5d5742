//go:build libvirt_dlopen

package libvirt

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/google/uuid"
	lv "libvirt.org/go/libvirt"
	"libvirt.org/go/libvirtxml"

	"slipway.dev/pkg/durable"
	"slipway.dev/services/node/internal/hyper"
)

// RemoveDisk deletes the file of a disk.
func (d *Driver) RemoveDisk(ctx context.Context, id uuid.UUID, name string) error {
	if err := hyper.CheckDiskName(name); err != nil {
		return err
	}
	return d.with(ctx, id, func(_ *lv.Connect, dom *domain) error {
		if dom != nil {
			used, err := uses(dom, d.files.path(id, diskFile(name)))
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

// uses reports whether a domain is defined with this file as a disk, or runs with it.
func uses(dom *domain, path string) (bool, error) {
	for _, flags := range []lv.DomainXMLFlags{lv.DOMAIN_XML_INACTIVE, 0} { // without a flag: as it runs, if it does
		text, err := dom.GetXMLDesc(flags)
		if err != nil {
			return false, fmt.Errorf("read definition: %w", err)
		}
		var x libvirtxml.Domain
		if err := x.Unmarshal(text); err != nil {
			return false, fmt.Errorf("read definition: %w", err)
		}
		if x.Devices == nil {
			continue
		}
		for _, disk := range x.Devices.Disks {
			if disk.Source != nil && disk.Source.File != nil && disk.Source.File.File == path {
				return true, nil
			}
		}
	}
	return false, nil
}

// removeDisk deletes a disk, and what a creation that did not end left of it.
func (f *files) removeDisk(id uuid.UUID, name string) error {
	file := filepath.Join(id.String(), diskFile(name))
	gone := false
	for _, name := range []string{file + ".partial", file} {
		err := f.root.Remove(name)
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
