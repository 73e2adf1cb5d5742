//go:build libvirt_dlopen

package libvirt

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	lv "libvirt.org/go/libvirt"
	"libvirt.org/go/libvirtxml"

	"slipway.dev/services/node/internal/hyper"
)

// present returns ErrNoDisk or ErrNoTemplate if a file of the definition is missing. libvirt's own error would name the
// file only in its text.
func present(dom *lv.Domain) error {
	d, err := read(dom, lv.DOMAIN_XML_INACTIVE)
	if err != nil {
		return err
	}
	if d.Devices == nil {
		return nil
	}
	for _, x := range d.Devices.Disks {
		if err := presentDisk(x); err != nil {
			return err
		}
	}
	return nil
}

// presentDisk is present for one disk, with the template that the disk starts from.
func presentDisk(x libvirtxml.DomainDisk) error {
	path, err := missing(x.Source)
	name := strings.TrimSuffix(filepath.Base(path), diskFile(""))
	switch {
	case err != nil:
		return err
	case name == seedFile:
		return hyper.ErrNoDisk.With("the seed is not there")
	case path != "":
		return hyper.ErrNoDisk.With("disk %s is not there", name)
	case x.BackingStore == nil:
		return nil
	}
	if path, err = missing(x.BackingStore.Source); err == nil && path != "" {
		file := filepath.Base(path)
		return hyper.ErrNoTemplate.With("template %s is not installed on this node", strings.TrimSuffix(file, filepath.Ext(file)))
	}
	return err
}

// missing returns the path of a source if there is no such file.
func missing(s *libvirtxml.DomainDiskSource) (path string, err error) {
	if s == nil || s.File == nil {
		return "", nil
	}
	_, err = os.Stat(s.File.File)
	if errors.Is(err, fs.ErrNotExist) {
		return s.File.File, nil
	}
	return "", err
}
