//go:build libvirt_dlopen

package libvirt

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"libvirt.org/go/libvirtxml"

	"slipway.dev/services/node/internal/hyper"
)

// TestMissingFileIsNamed: whichever file of a disk is missing, the fault is permanent and names it.
func TestMissingFileIsNamed(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		disk, base string
		lost       string
		want       error
		says       string
	}{
		{"disk0.qcow2", "abc.qcow2", "", nil, ""},
		{"disk0.qcow2", "", "", nil, ""},
		{"disk0.qcow2", "abc.qcow2", "disk0.qcow2", hyper.ErrNoDisk, "disk disk0 is not there"},
		{"disk0.qcow2", "abc.qcow2", "abc.qcow2", hyper.ErrNoTemplate, "template abc is not installed"},
		{"disk0.qcow2", "abc.raw", "abc.raw", hyper.ErrNoTemplate, "template abc is not installed"},
		{"seed.iso", "", "seed.iso", hyper.ErrNoDisk, "the seed is not there"},
	} {
		dir := t.TempDir()
		x := libvirtxml.DomainDisk{Source: source(filepath.Join(dir, tt.disk))}
		if tt.base != "" {
			x.BackingStore = &libvirtxml.DomainDiskBackingStore{Source: source(filepath.Join(dir, tt.base))}
		}
		for _, name := range []string{tt.disk, tt.base} {
			if name == "" || name == tt.lost {
				continue
			}
			if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := presentDisk(x); !errors.Is(err, tt.want) || tt.want != nil && !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s on %q without %q: %v", tt.disk, tt.base, tt.lost, err)
		}
	}
	if err := presentDisk(libvirtxml.DomainDisk{}); err != nil {
		t.Errorf("a disk without a file: %v", err)
	}
}
