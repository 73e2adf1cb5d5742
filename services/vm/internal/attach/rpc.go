package attach

import (
	"cmp"
	"context"
	"errors"

	oppb "slipway.dev/proto/op/v1"
	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/pkg/audit"
	"slipway.dev/pkg/crash"
	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/vm/internal/disk"
	"slipway.dev/services/vm/internal/host"
	"slipway.dev/services/vm/internal/listing"
	"slipway.dev/services/vm/internal/node"
)

// pointKept is where a request is kept and not yet answered.
var pointKept = crash.At("vm.attach.committed")

// Server answers the part of vm.v3.UpkeepService that exchanges the disks of hosts.
type Server struct{ db *unit.DB }

// NewServer returns a Server.
func NewServer(db *unit.DB) *Server { return &Server{db} }

// AttachDisk records that a host is to get a disk that has no host, or that a disk of the host becomes the main one.
func (s *Server) AttachDisk(ctx context.Context, r *vmpb.AttachDiskRequest) (*oppb.Operation, error) {
	if err := checkBus(r.GetBus()); err != nil {
		return nil, err
	}
	return host.Operate(ctx, s.db, r.GetHost(), pointKept, func(tx *unit.Tx, h *host.Host) (*oppb.Operation, error) {
		d, err := disk.Find(ctx, tx, r.GetId(), listing.Owner(ctx))
		if err != nil {
			return nil, err
		}
		switch d.Host {
		case h.ID:
			return change(ctx, tx, h, d, r)
		case 0:
			return attach(ctx, tx, h, d, r)
		default:
			return nil, errAttached.With("disk %d belongs to host %d: detach it there first", d.ID, d.Host)
		}
	})
}

// change has a disk of a host become the main one, or gives it another bus.
func change(ctx context.Context, tx *unit.Tx, h *host.Host, d disk.Sold, r *vmpb.AttachDiskRequest) (*oppb.Operation, error) {
	if !r.GetIsMain() && r.GetBus() == "" {
		return nil, errAttached.With("disk %d belongs to host %d already", d.ID, h.ID)
	}
	if err := d.Free(); err != nil {
		return nil, err
	}
	a := orderArgs{Args: h.Args(false)}
	if r.GetIsMain() {
		a.Main = d.ID
	}
	if r.GetBus() != "" {
		a.Disk, a.Bus = d.ID, r.GetBus()
	}
	return order(ctx, tx, h, a)
}

// attach gives a disk without a host to a host.
func attach(ctx context.Context, tx *unit.Tx, h *host.Host, d disk.Sold, r *vmpb.AttachDiskRequest) (*oppb.Operation, error) {
	d, err := disk.Lock(ctx, tx, d.ID, d.Account)
	if errors.Is(err, fault.NotFound) {
		return nil, host.ErrBusy // it has been attached, deleted or given away meanwhile
	}
	if err != nil {
		return nil, err
	}
	list, err := disk.Of(ctx, tx, h.ID)
	if err != nil {
		return nil, err
	}
	more, err := coming(ctx, tx, h.ID)
	if err != nil {
		return nil, err
	}
	if err := check(ctx, tx, h, d, len(list)+more); err != nil {
		return nil, err
	}
	if r.GetIsMain() {
		if err := h.OnDisks(); err != nil {
			return nil, err
		}
	}
	audit.Of(ctx).Change(map[string]any{"host": 0}, map[string]any{"host": h.ID, "disk": d.ID, "is_main": r.GetIsMain()})
	return hold(ctx, tx, h, d, attachKind, args{h.Args(false), d.ID, r.GetIsMain(), cmp.Or(r.GetBus(), disk.VirtIO)})
}

// check refuses what can never succeed with a host that has n disks, or is to have them.
func check(ctx context.Context, tx *unit.Tx, h *host.Host, d disk.Sold, n int) error {
	if err := d.Free(); err != nil {
		return err
	}
	switch {
	case d.Account != h.AccountID:
		return fault.Invalid.With("disk %d belongs to account %d, host %d to account %d", d.ID, d.Account, h.ID, h.AccountID).On("disk")
	case d.Node != h.NodeID:
		return errElsewhere.With("disk %d is on node %d, host %d on node %d", d.ID, d.Node, h.ID, h.NodeID)
	}
	if err := disk.CheckRoom(n); err != nil {
		return err
	}
	return able(ctx, tx, h)
}

// able refuses a host whose node does not exchange disks.
func able(ctx context.Context, tx *unit.Tx, h *host.Host) error {
	at, err := node.Find(ctx, tx, h.NodeID)
	if err == nil && !at.Exchanges() {
		err = fault.Invalid.With("the node of the host cannot exchange disks").On("disk")
	}
	return err
}

// DetachDisk records that a disk is to be without its host.
func (s *Server) DetachDisk(ctx context.Context, r *vmpb.DetachDiskRequest) (*oppb.Operation, error) {
	return host.Operate(ctx, s.db, r.GetHost(), pointKept, func(tx *unit.Tx, h *host.Host) (*oppb.Operation, error) {
		d, err := disk.Find(ctx, tx, r.GetId(), listing.Owner(ctx))
		if err != nil {
			return nil, err
		}
		if d.Host != h.ID {
			return nil, errDetached.With("disk %d does not belong to host %d", d.ID, h.ID)
		}
		list, err := disk.Of(ctx, tx, h.ID)
		if err != nil {
			return nil, err
		}
		if list[0].ID == d.ID {
			return nil, errMain.With("disk %d is the main disk of host %d: make another one the main disk first", d.ID, h.ID)
		}
		if err := errors.Join(d.Free(), able(ctx, tx, h)); err != nil {
			return nil, err
		}
		audit.Of(ctx).Change(map[string]any{"host": h.ID, "disk": d.ID}, map[string]any{"host": 0})
		return hold(ctx, tx, h, d, detachKind, args{Args: h.Args(false), Disk: d.ID})
	})
}

// hold adds a job of a host, which holds a disk.
func hold(ctx context.Context, tx *unit.Tx, h *host.Host, d disk.Sold, kind string, a args) (*oppb.Operation, error) {
	op, err := host.Enqueue(ctx, tx, h, kind, a)
	if err != nil {
		return nil, err
	}
	return op, disk.Hold(ctx, tx, d.ID, op.GetTask())
}

// OrderDisks records the order in which a host looks for its OS on its disks.
func (s *Server) OrderDisks(ctx context.Context, r *vmpb.OrderDisksRequest) (*oppb.Operation, error) {
	var list []place
	for _, d := range r.GetDisks() {
		list = append(list, place{d.GetId(), d.GetBootOrder()})
	}
	places, err := numbers(list)
	if err != nil {
		return nil, err
	}
	return host.Operate(ctx, s.db, r.GetId(), pointKept, func(tx *unit.Tx, h *host.Host) (*oppb.Operation, error) {
		return order(ctx, tx, h, orderArgs{Args: h.Args(false), Numbers: places})
	})
}

// order adds the job that orders the disks of a host.
func order(ctx context.Context, tx *unit.Tx, h *host.Host, a orderArgs) (*oppb.Operation, error) {
	if err := h.OnDisks(); err != nil {
		return nil, err
	}
	list, err := disk.Of(ctx, tx, h.ID)
	if err != nil {
		return nil, err
	}
	places, err := a.places(list)
	if err != nil {
		return nil, err
	}
	before := map[int32]int32{}
	for _, d := range list {
		before[d.ID] = d.BootOrder
	}
	after := map[string]any{"boot_order": places}
	if a.Disk != 0 {
		after["disk"], after["bus"] = a.Disk, a.Bus
	}
	audit.Of(ctx).Change(map[string]any{"boot_order": before}, after)
	return host.Enqueue(ctx, tx, h, orderKind, a)
}
