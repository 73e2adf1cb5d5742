// Package volume changes the disks of hosts.
package volume

import (
	"slipway.dev/pkg/fault"
	"slipway.dev/services/vm/internal/disk"
	"slipway.dev/services/vm/internal/host"
)

// Change is what a request changes; nil and 0 change nothing.
type Change struct {
	Label *string
	Size  int32 // MiB
}

// Check refuses a change that no disk can have.
func (c Change) Check() error {
	if c.Label == nil && c.Size == 0 {
		return fault.Invalid.With("the request changes nothing")
	}
	if c.Label != nil {
		if *c.Label == "" {
			return fault.Invalid.With("empty").On("name")
		}
		if err := disk.CheckLabel(*c.Label, "name"); err != nil {
			return err
		}
	}
	return disk.CheckSize(c.Size, "size_mib")
}

// check refuses a change that this disk cannot have, and returns by how much it grows.
func (c Change) check(h *host.Host, d disk.Sold) (more int32, err error) {
	switch {
	case h.State == host.Deleting:
		return 0, host.ErrDeleting.With("host %d is being deleted", h.ID)
	case c.Size == 0:
		return 0, nil
	case c.Size < d.SizeMiB:
		return 0, fault.Invalid.With("the disk has %d MiB, and disks do not shrink: its end would be lost", d.SizeMiB).On("size_mib")
	}
	return c.Size - d.SizeMiB, nil
}
