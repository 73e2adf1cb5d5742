package attach

import (
	"context"
	"errors"
	"slices"

	"github.com/jackc/pgx/v5"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/jobs"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/vm/internal/account"
	"slipway.dev/services/vm/internal/disk"
	"slipway.dev/services/vm/internal/host"
	"slipway.dev/services/vm/internal/machine"
)

// Kinds of jobs, the dialect's names of the tasks.
const (
	attachKind = "disk_attach"
	detachKind = "disk_detach"
	orderKind  = "disk_order"
)

// attempts last some minutes with the runner's backoff, capped at 30 s.
const attempts = 8

type worker struct {
	db    *unit.DB
	steps *machine.Steps
}

// Register registers the handlers. A disk has its host in the tables until the machine has released the disk, and from when the
// machine has it: a job that fails leaves the disk where it was.
func Register(r *jobs.Runner, db *unit.DB, steps *machine.Steps) {
	w := &worker{db, steps}
	jobs.Handle(r, attachKind, jobs.Handler[args]{
		Steps: []jobs.Step[args]{
			{Name: "move", Do: w.bring, Undo: w.bringBack, Timeout: machine.StepTime},
			{Name: "machine", Do: w.plug, Undo: machine.Of[args](steps.RestoreMachine), Timeout: machine.StepTime},
		},
		Done: w.gotDisk, Failed: w.asBefore, Attempts: attempts,
	})
	jobs.Handle(r, detachKind, jobs.Handler[args]{
		Steps: []jobs.Step[args]{
			{Name: "check", Do: w.check, Timeout: machine.StepTime},
			{Name: "machine", Do: w.unplug, Undo: machine.Of[args](steps.RestoreMachine), Timeout: machine.StepTime},
			{Name: "move", Do: w.takeAway, Undo: w.bring, Timeout: machine.StepTime},
		},
		Done: w.lostDisk, Failed: w.asBefore, Attempts: attempts,
	})
	jobs.Handle(r, orderKind, jobs.Handler[orderArgs]{
		Steps: []jobs.Step[orderArgs]{
			{Name: "check", Do: w.checkOrder, Timeout: machine.StepTime},
			{Name: "machine", Do: w.redefine, Undo: machine.Of[orderArgs](steps.RestoreMachine), Timeout: machine.StepTime},
		},
		Done: w.inOrder, Attempts: attempts,
	})
}

// with returns the steps that make the machine with the disk of the job.
func (w *worker) with(a args) *machine.Steps {
	return w.steps.Making(func(ctx context.Context, run *jobs.Run, m *machine.Machine) error {
		d, _, err := disk.OfJob(ctx, w.db.Pool, run.ID)
		if err == nil {
			d.Bus = a.Bus
			into(m, d, a.Main)
		}
		return err
	})
}

// without returns the steps that make the machine without the disk of the job.
func (w *worker) without(a args) *machine.Steps {
	return w.steps.Making(func(_ context.Context, _ *jobs.Run, m *machine.Machine) error { return out(m, a.Disk) })
}

// order returns the steps that make the machine with its disks in order.
func (w *worker) order(a orderArgs) *machine.Steps {
	return w.steps.Making(func(_ context.Context, _ *jobs.Run, m *machine.Machine) error {
		if m.Rescue {
			return machine.ErrRescue.With("the host is in rescue mode: end that first")
		}
		places, err := a.places(m.Disks)
		if err == nil {
			m.Disks = a.ordered(m.Disks, places)
		}
		return err
	})
}

// check refuses to detach what is the main disk by now. Nothing is to be undone then.
func (w *worker) check(ctx context.Context, run *jobs.Run, a args) error {
	return w.without(a).Check(ctx, run, a.Args)
}

// checkOrder refuses an order of other disks than the host has by now. Nothing is to be undone then.
func (w *worker) checkOrder(ctx context.Context, run *jobs.Run, a orderArgs) error {
	return w.order(a).Check(ctx, run, a.Args)
}

// bring moves the disk from its place to the machine. It may run twice: what was moved before stays.
func (w *worker) bring(ctx context.Context, run *jobs.Run, a args) error {
	d, place, err := disk.OfJob(ctx, w.db.Pool, run.ID)
	if err != nil {
		return err
	}
	return w.steps.MoveDisk(ctx, run, a.Args, machine.Move{From: place.String(), Name: disk.FileOf(d.ID), To: a.UUID, NewName: d.Name})
}

// takeAway moves the disk from the machine to its place. It may run twice, as bring may.
func (w *worker) takeAway(ctx context.Context, run *jobs.Run, a args) error {
	d, place, err := disk.OfJob(ctx, w.db.Pool, run.ID)
	if err != nil {
		return err
	}
	return w.steps.MoveDisk(ctx, run, a.Args, machine.Move{From: a.UUID, Name: d.Name, To: place.String(), NewName: disk.FileOf(d.ID)})
}

// bringBack is takeAway for a machine that did not get the disk. A host that could not be made is gone, and never had it.
func (w *worker) bringBack(ctx context.Context, run *jobs.Run, a args) error {
	if err := w.takeAway(ctx, run, a); !errors.Is(err, fault.NotFound) {
		return err
	}
	return nil
}

// plug gives the machine the disk. It may run twice: the agent changes what differs.
func (w *worker) plug(ctx context.Context, run *jobs.Run, a args) error {
	ran, err := w.with(a).Exchange(ctx, run, a.Args)
	if err == nil {
		run.Memo = ran
	}
	return err
}

// unplug takes the disk from the machine. It may run twice, as plug may. A guest that does not release the disk keeps it.
func (w *worker) unplug(ctx context.Context, run *jobs.Run, a args) error {
	d, _, err := disk.OfJob(ctx, w.db.Pool, run.ID)
	if err != nil {
		return err
	}
	ran, err := w.without(a).Exchange(ctx, run, a.Args)
	if err == nil && slices.Contains(ran.Disks, d.Name) {
		err = errHeld.With("the guest does not release disk %d: unmount it there, or stop the host, and detach the disk again", a.Disk)
	}
	return err
}

// redefine gives the machine its disks in another order, from its next start on. It may run twice, as plug may.
func (w *worker) redefine(ctx context.Context, run *jobs.Run, a orderArgs) error {
	ran, err := w.order(a).Exchange(ctx, run, a.Args)
	if err == nil {
		run.Memo = ran
	}
	return err
}

// remark says what a guest that runs does not have yet. has reports whether what the task was for is there for it.
func remark(ctx context.Context, tx pgx.Tx, run *jobs.Run, text string, has func(machine.Adapted) bool) error {
	if ran, known := run.Memo.(machine.Adapted); !known || !ran.Running || has(ran) {
		return nil
	}
	return jobs.Remark(ctx, tx, run.ID, text)
}

// gotDisk records that the host has the disk. What the disk counts for goes to the account that has the host by now.
func (w *worker) gotDisk(ctx context.Context, tx pgx.Tx, run *jobs.Run, a args) error {
	err := remark(ctx, tx, run, "the guest gets the disk at the next start of the host", func(ran machine.Adapted) bool {
		return slices.Contains(ran.Disks, disk.FileOf(a.Disk))
	})
	if err != nil {
		return err
	}
	return host.Record(ctx, unit.In(tx), a.ID, func(tx *unit.Tx, h *host.Host) error {
		d, err := disk.Lock(ctx, tx, a.Disk, 0)
		if err != nil {
			return err
		}
		if err := disk.Attach(ctx, tx, a.Disk, h.ID, a.Bus); err != nil {
			return err
		}
		if a.Main {
			if err := prefer(ctx, tx, h.ID, a.Disk); err != nil {
				return err
			}
		}
		if d.Account == h.AccountID {
			return nil
		}
		return account.Transfer(ctx, tx, d.Account, h.AccountID, account.Usage{account.HDDMiB: int64(d.SizeMiB)})
	})
}

// prefer makes a disk the first of its host.
func prefer(ctx context.Context, tx *unit.Tx, host, id int32) error {
	list, err := disk.Of(ctx, tx, host)
	if err != nil {
		return err
	}
	places, err := orderArgs{Main: id}.places(list)
	if err != nil {
		return err
	}
	return disk.Order(ctx, tx, host, places)
}

// lostDisk records that the account of the host has the disk.
func (w *worker) lostDisk(ctx context.Context, tx pgx.Tx, run *jobs.Run, a args) error {
	return host.Record(ctx, unit.In(tx), a.ID, func(tx *unit.Tx, h *host.Host) error {
		return disk.Detach(ctx, tx, a.Disk, h.AccountID, h.NodeID)
	})
}

// inOrder records the places of the disks.
func (w *worker) inOrder(ctx context.Context, tx pgx.Tx, run *jobs.Run, a orderArgs) error {
	err := remark(ctx, tx, run, "the change counts from the next start of the host on", func(machine.Adapted) bool { return false })
	if err != nil {
		return err
	}
	return host.Record(ctx, unit.In(tx), a.ID, func(tx *unit.Tx, h *host.Host) error {
		list, err := disk.Of(ctx, tx, h.ID)
		if err != nil {
			return err
		}
		places, err := a.places(list)
		if err != nil {
			return err
		}
		if a.Disk != 0 {
			if err := disk.SetBus(ctx, tx, a.Disk, h.ID, a.Bus); err != nil {
				return err
			}
		}
		return disk.Order(ctx, tx, h.ID, places)
	})
}

// asBefore records that the disk is where it was.
func (w *worker) asBefore(ctx context.Context, tx pgx.Tx, run *jobs.Run, _ args, _ *fault.Fault) error {
	return disk.Release(ctx, unit.In(tx), run.ID)
}
