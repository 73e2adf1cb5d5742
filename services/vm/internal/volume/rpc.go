package volume

import (
	"context"

	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/types/known/wrapperspb"

	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/pkg/audit"
	"slipway.dev/pkg/crash"
	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/vm/internal/account"
	"slipway.dev/services/vm/internal/disk"
	"slipway.dev/services/vm/internal/host"
	"slipway.dev/services/vm/internal/listing"
	"slipway.dev/services/vm/internal/node"
	"slipway.dev/services/vm/internal/task"
)

// hostStop is when clients let a change wait for: a disk grows before.
const hostStop = "host_stop"

// pointAccepted is where a change is kept and not yet answered.
var pointAccepted = crash.At("vm.volume.committed")

// Server answers vm.v3.DiskService.
type Server struct {
	vmpb.UnimplementedDiskServiceServer
	db *unit.DB
}

// NewServer returns a Server.
func NewServer(db *unit.DB) *Server { return &Server{db: db} }

// ListDisks lists disks.
func (s *Server) ListDisks(ctx context.Context, r *vmpb.ListDisksRequest) (*vmpb.ListDisksResponse, error) {
	l, err := page(ctx, s.db, r.GetQuery(), listing.Owner(ctx))
	if err != nil {
		return nil, err
	}
	return &vmpb.ListDisksResponse{LastNotify: l.LastNotify, Size: l.Size, List: listing.Render(l.Rows, render)}, nil
}

// GetDisk reads one disk.
func (s *Server) GetDisk(ctx context.Context, r *vmpb.GetDiskRequest) (*vmpb.Disk, error) {
	d, err := find(ctx, s.db, r.GetId(), listing.Owner(ctx))
	if err != nil {
		return nil, err
	}
	return render(&d), nil
}

// ChangeDisk records a change, and the job that enlarges the disk if its size changes.
func (s *Server) ChangeDisk(ctx context.Context, r *vmpb.ChangeDiskRequest) (resp *vmpb.ChangeDiskResponse, err error) {
	if action := r.GetDefer().GetAction(); action != "" && action != hostStop {
		return nil, fault.Invalid.With("%q is not %s", fault.Clip(action), hostStop).On("defer.action")
	}
	c := Change{Label: r.Name, Size: r.GetSizeMib()}
	if err := c.Check(); err != nil {
		return nil, err
	}
	err = s.db.InTx(ctx, func(tx *unit.Tx) error {
		resp, err = s.record(ctx, tx, r.GetId(), c)
		return err
	})
	if err != nil {
		return nil, err
	}
	pointAccepted.Hit()
	return resp, nil
}

// record stores the change and its job. It charges the account and takes room of the node last, as locks of both are waited for.
func (s *Server) record(ctx context.Context, tx *unit.Tx, id int32, c Change) (*vmpb.ChangeDiskResponse, error) {
	owner := listing.Owner(ctx)
	d, err := disk.Find(ctx, tx, id, owner)
	if err != nil {
		return nil, err
	}
	h, err := host.Lock(ctx, tx, d.Host, owner)
	if err != nil {
		return nil, err
	}
	if d, err = disk.Find(ctx, tx, id, owner); err != nil { // as it is under the lock
		return nil, err
	}
	more, err := c.check(h, d)
	if err != nil {
		return nil, err
	}
	before, after := map[string]any{"name": d.Label, "size_mib": d.SizeMiB}, map[string]any{"name": d.Label, "size_mib": d.SizeMiB}
	if c.Label != nil {
		after["name"] = *c.Label
		if err := disk.Rename(ctx, tx, id, *c.Label); err != nil {
			return nil, err
		}
	}
	resp := &vmpb.ChangeDiskResponse{Id: id}
	if c.Size != 0 {
		after["size_mib"] = c.Size
		if err := task.Admit(ctx, tx, h.ID); err != nil {
			return nil, err
		}
		job, err := task.Enqueue(ctx, tx, kind, task.HostKey(h.ID), h.AccountID, h.NodeID, args{Args: h.Args(false), Disk: id, Size: c.Size})
		if err != nil {
			return nil, err
		}
		if err := disk.Sell(ctx, tx, id, c.Size, job.ID); err != nil {
			return nil, err
		}
		resp.Task = wrapperspb.Int32(job.ID)
	}
	audit.Of(ctx).Change(before, after)
	if err := tx.Answer(ctx, resp); err != nil || more == 0 {
		return resp, err
	}
	return resp, charge(ctx, tx, h, more)
}

// charge takes the room that a host gets more.
func charge(ctx context.Context, tx *unit.Tx, h *host.Host, more int32) error {
	var charged, taken bool
	add := account.Usage{account.HDDMiB: int64(more)}
	err := tx.Last(ctx, func(b *pgx.Batch) {
		account.QueueCharge(b, h.AccountID, add, &charged)
		node.QueueGrow(b, h.NodeID, node.Size{Disk: int64(more)}, &taken)
	})
	switch {
	case err != nil:
		return err
	case !charged:
		if err := account.Allow(ctx, tx, h.AccountID, add); err != nil {
			return err
		}
		return host.ErrBusy // a host was deleted meanwhile: the limit is no longer in the way
	case !taken:
		return node.ErrNoCapacity.With("the node of the host has no %d MiB of storage free", more).On("size_mib")
	}
	return nil
}
