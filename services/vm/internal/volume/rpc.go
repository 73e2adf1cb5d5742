package volume

import (
	"context"
	"errors"
	"maps"

	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/types/known/wrapperspb"

	oppb "slipway.dev/proto/op/v1"
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
)

// hostStop is when clients let a change wait for: a disk grows before.
const hostStop = "host_stop"

// pointAccepted is where a change is kept and not yet answered.
var pointAccepted = crash.At("vm.volume.committed")

// Server answers vm.v3.DiskService.
type Server struct {
	vmpb.UnimplementedDiskServiceServer
	db       *unit.DB
	accounts *account.Directory
}

// NewServer returns a Server.
func NewServer(db *unit.DB, accounts *account.Directory) *Server {
	return &Server{db: db, accounts: accounts}
}

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
	c := Change{Label: r.Name, Size: r.GetSizeMib(), Account: r.GetAccount()}
	if err := c.Check(); err != nil {
		return nil, err
	}
	if _, err := s.accounts.Owner(ctx, c.Account); err != nil {
		return nil, err
	}
	err = s.db.InTx(ctx, func(tx *unit.Tx) error {
		resp, err = s.record(ctx, tx, r.GetId(), c)
		return err
	})
	if c.Account != 0 {
		err = account.OfOwner(err, c.Account)
	}
	if err != nil {
		return nil, err
	}
	pointAccepted.Hit()
	return resp, nil
}

// lock returns a disk of the caller's as it is under its lock: that of its host, or its own if it has none.
func lock(ctx context.Context, tx *unit.Tx, id int32) (d disk.Sold, h *host.Host, err error) {
	owner := listing.Owner(ctx)
	if d, err = disk.Find(ctx, tx, id, owner); err != nil {
		return d, nil, err
	}
	if d.Host == 0 {
		d, err = disk.Lock(ctx, tx, id, owner)
		return d, nil, moved(err)
	}
	if h, err = host.Lock(ctx, tx, d.Host, owner); err != nil {
		return d, nil, moved(err)
	}
	if d, err = disk.Find(ctx, tx, id, owner); err == nil && d.Host != h.ID {
		err = host.ErrBusy
	}
	return d, h, err
}

// moved returns err for a disk that was there a moment ago: it has been attached, detached or deleted meanwhile.
func moved(err error) error {
	if errors.Is(err, fault.NotFound) {
		return host.ErrBusy
	}
	return err
}

// record stores the change and its job. It charges the account and takes room of the node last, as locks of both are waited for.
func (s *Server) record(ctx context.Context, tx *unit.Tx, id int32, c Change) (*vmpb.ChangeDiskResponse, error) {
	d, h, err := lock(ctx, tx, id)
	if err != nil {
		return nil, err
	}
	more, err := c.check(h, d)
	if err != nil {
		return nil, err
	}
	before := map[string]any{"name": d.Label, "size_mib": d.SizeMiB, "account": d.Account}
	after := maps.Clone(before)
	if c.Label != nil {
		after["name"] = *c.Label
		if err := disk.Rename(ctx, tx, id, *c.Label); err != nil {
			return nil, err
		}
	}
	resp := &vmpb.ChangeDiskResponse{Id: id}
	if c.Size != 0 {
		after["size_mib"] = c.Size
		job, err := s.grow(ctx, tx, h, d, c.Size)
		if err != nil {
			return nil, err
		}
		resp.Task = wrapperspb.Int32(job)
	}
	if c.Account != 0 && c.Account != d.Account {
		after["account"] = c.Account
	}
	audit.Of(ctx).Change(before, after)
	if err := tx.Answer(ctx, resp); err != nil {
		return nil, err
	}
	if after["account"] != d.Account {
		if err := give(ctx, tx, d, c.Account); err != nil {
			return nil, err
		}
		d.Account = c.Account
	}
	if more == 0 {
		return resp, nil
	}
	return resp, charge(ctx, tx, d.Account, d.Node, more)
}

// grow adds the job that enlarges a disk, and returns its id.
func (s *Server) grow(ctx context.Context, tx *unit.Tx, h *host.Host, d disk.Sold, size int32) (int32, error) {
	var op *oppb.Operation
	var err error
	if h == nil {
		op, err = enqueue(ctx, tx, resizeKind, d, args{Disk: d.ID, Size: size, Place: d.Place.String()})
	} else {
		op, err = host.Enqueue(ctx, tx, h, resizeKind, args{Args: h.Args(false), Disk: d.ID, Size: size})
	}
	if err != nil {
		return 0, err
	}
	return op.GetTask(), disk.Sell(ctx, tx, d.ID, size, op.GetTask())
}

// give moves a disk that has no host, with what it counts for, to an account whose limits allow that.
func give(ctx context.Context, tx *unit.Tx, d disk.Sold, to int32) error {
	if err := disk.Give(ctx, tx, d.ID, to); err != nil {
		return err
	}
	return account.Give(ctx, tx, d.Account, to, account.Usage{account.HDDMiB: int64(d.SizeMiB)})
}

// charge takes the room that a disk gets, or gets more.
func charge(ctx context.Context, tx *unit.Tx, owner, on, more int32) error {
	var charged, taken bool
	add := account.Usage{account.HDDMiB: int64(more)}
	err := tx.Last(ctx, func(b *pgx.Batch) {
		account.QueueCharge(b, owner, add, &charged)
		node.QueueGrow(b, on, node.Size{Disk: int64(more)}, &taken)
	})
	switch {
	case err != nil:
		return err
	case !charged:
		if err := account.Allow(ctx, tx, owner, add); err != nil {
			return err
		}
		return host.ErrBusy // a host was deleted meanwhile: the limit is no longer in the way
	case !taken:
		return node.ErrNoCapacity.With("node %d has no %d MiB of storage free", on, more).On("size_mib")
	}
	return nil
}
