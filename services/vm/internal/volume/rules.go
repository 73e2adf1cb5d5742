// Package volume makes disks, changes them, and removes those that have no host.
package volume

import (
	"google.golang.org/grpc/codes"

	"slipway.dev/pkg/fault"
	"slipway.dev/services/vm/internal/cluster"
	"slipway.dev/services/vm/internal/disk"
	"slipway.dev/services/vm/internal/host"
	"slipway.dev/services/vm/internal/node"
)

// errAttached refuses what is done with disks that have no host.
var errAttached = fault.New(codes.FailedPrecondition, "DISK_ATTACHED", "the disk belongs to a host")

// creation is what a request for a disk asks for.
type creation struct {
	Label                        string
	Size, Node, Account, Storage int32
}

// check refuses a disk that no node has.
func (c creation) check() error {
	switch {
	case c.Label == "":
		return fault.Invalid.With("required, what the disk is called").On("name")
	case c.Size == 0:
		return fault.Invalid.With("required, the size in MiB").On("size_mib")
	case c.Node <= 0:
		return fault.Invalid.With("required, the id of the node that gets the disk").On("node")
	}
	if err := disk.CheckLabel(c.Label, "name"); err != nil {
		return err
	}
	return disk.CheckSize(c.Size, "size_mib")
}

// checkNode refuses a node that cannot have the disk.
func (c creation) checkNode(n node.Service) error {
	switch {
	case c.Storage != 0 && c.Storage != cluster.StorageID(n.Cluster):
		return fault.Invalid.With("there is no storage %d on node %d", c.Storage, c.Node).On("storage")
	case n.Maintenance:
		return node.ErrNoCapacity.With("node %d is not in service", c.Node).On("node")
	case !n.Alive:
		return fault.Unavailable.With("node %d does not answer, repeat the request later", c.Node)
	case !n.Exchanges():
		return fault.Invalid.With("node %d cannot have disks without hosts", c.Node).On("node")
	}
	return nil
}

// Change is what a request changes; nil and 0 change nothing.
type Change struct {
	Label   *string
	Size    int32 // MiB
	Account int32
}

// Check refuses a change that no disk can have.
func (c Change) Check() error {
	if c.Label == nil && c.Size == 0 && c.Account == 0 {
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

// check refuses a change that this disk cannot have, and returns by how much it grows. h is the host of the disk, nil for none.
func (c Change) check(h *host.Host, d disk.Sold) (more int32, err error) {
	switch {
	case h != nil && h.State == host.Deleting:
		return 0, host.ErrDeleting.With("host %d is being deleted", h.ID)
	case h != nil && c.Account != 0 && c.Account != d.Account:
		return 0, errAttached.With("the owner of disk %d is that of its host, host %d", d.ID, h.ID).On("account")
	case c.Size == 0 && c.Account == 0:
		return 0, nil
	case c.Size != 0 && c.Size < d.SizeMiB:
		return 0, fault.Invalid.With("the disk has %d MiB, and disks do not shrink: its end would be lost", d.SizeMiB).On("size_mib")
	}
	if err := d.Free(); err != nil || c.Size == 0 {
		return 0, err
	}
	return c.Size - d.SizeMiB, nil
}
