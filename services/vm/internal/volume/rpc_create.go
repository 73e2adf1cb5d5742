package volume

import (
	"context"
	"errors"

	"github.com/google/uuid"

	oppb "slipway.dev/proto/op/v1"
	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/pkg/audit"
	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/vm/internal/account"
	"slipway.dev/services/vm/internal/disk"
	"slipway.dev/services/vm/internal/listing"
	"slipway.dev/services/vm/internal/node"
	"slipway.dev/services/vm/internal/task"
)

// CreateDisk records a disk without a host, and the job that makes it. An account that does not reach all others gets disks on
// the nodes of its hosts alone: there it can attach them.
func (s *Server) CreateDisk(ctx context.Context, r *vmpb.CreateDiskRequest) (op *oppb.Operation, err error) {
	c := creation{Label: r.GetName(), Size: r.GetSizeMib(), Node: r.GetNode(), Account: r.GetAccount(), Storage: r.GetStorage()}
	if err := c.check(); err != nil {
		return nil, err
	}
	if c.Account, err = s.accounts.Owner(ctx, r.GetAccount()); err != nil {
		return nil, err
	}
	if err := s.checkNode(ctx, c); err != nil {
		return nil, err
	}
	d := disk.Sold{Account: c.Account, Node: c.Node, Label: c.Label, SizeMiB: c.Size, Place: uuid.New()}
	err = s.db.InTx(ctx, func(tx *unit.Tx) error {
		if d.ID, err = disk.Add(ctx, tx, d); err != nil {
			return err
		}
		if op, err = enqueue(ctx, tx, createKind, d, args{Disk: d.ID, Place: d.Place.String()}); err != nil {
			return err
		}
		audit.Of(ctx).Object("disk", d.ID)
		audit.Of(ctx).Change(nil, described(d))
		if err := tx.Answer(ctx, op); err != nil {
			return err
		}
		return charge(ctx, tx, d.Account, d.Node, d.SizeMiB)
	})
	if err != nil {
		return nil, account.OfOwner(err, r.GetAccount())
	}
	pointAccepted.Hit()
	return op, nil
}

// checkNode refuses a node that cannot have the disk, or that the caller does not see.
func (s *Server) checkNode(ctx context.Context, c creation) error {
	missing := fault.Invalid.With("there is no node %d", c.Node).On("node")
	n, err := node.Find(ctx, s.db, c.Node)
	if errors.Is(err, fault.NotFound) {
		return missing
	}
	if err != nil {
		return err
	}
	if owner := listing.Owner(ctx); owner != 0 {
		switch lives, err := livesOn(ctx, s.db, owner, c.Node); {
		case err != nil:
			return err
		case !lives:
			return missing
		}
	}
	return c.checkNode(n)
}

// DeleteDisk records the removal of a disk that has no host.
func (s *Server) DeleteDisk(ctx context.Context, r *vmpb.DeleteDiskRequest) (op *oppb.Operation, err error) {
	err = s.db.InTx(ctx, func(tx *unit.Tx) error {
		d, err := free(ctx, tx, r.GetId())
		if err != nil {
			return err
		}
		audit.Of(ctx).Change(described(d), nil)
		op, err = enqueue(ctx, tx, deleteKind, d, args{Disk: d.ID, Place: d.Place.String()})
		return err
	})
	if err != nil {
		return nil, err
	}
	pointAccepted.Hit()
	return op, nil
}

// described is what the audit log says of a disk.
func described(d disk.Sold) map[string]any {
	return map[string]any{"name": d.Label, "size_mib": d.SizeMiB, "account": d.Account, "node": d.Node}
}

// free locks a disk of the caller's that has no host and that no task works on.
func free(ctx context.Context, tx *unit.Tx, id int32) (disk.Sold, error) {
	owner := listing.Owner(ctx)
	d, err := disk.Lock(ctx, tx, id, owner)
	if errors.Is(err, fault.NotFound) {
		if d, err = disk.Find(ctx, tx, id, owner); err == nil {
			err = errAttached.With("disk %d belongs to host %d: detach it first", d.ID, d.Host)
		}
	}
	if err != nil {
		return d, err
	}
	return d, d.Free()
}

// enqueue adds a job of a disk without a host, which holds the disk.
func enqueue(ctx context.Context, tx *unit.Tx, kind string, d disk.Sold, a args) (*oppb.Operation, error) {
	job, err := task.Enqueue(ctx, tx, kind, disk.Key(d.ID), d.Account, d.Node, a)
	if err != nil {
		return nil, err
	}
	return task.Operation(d.ID, job), disk.Hold(ctx, tx, d.ID, job.ID)
}
