package host

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/vm/internal/account"
	"slipway.dev/services/vm/internal/machine"
	"slipway.dev/services/vm/internal/node"
)

// Reserve records that a job is to give a locked host another size; what the size leaves 0 stays. It charges the account
// and takes room of the node for what the host gets more, and it is the last of its unit of work, as Take is.
func Reserve(ctx context.Context, tx *unit.Tx, h *Host, job int32, want machine.Size) error {
	cpus, ram := h.Sold()
	h.ResizeTask = &job
	h.NewCPUs, h.NewRAM = orElse(want.CPUs, h.NewCPUs), orElse(want.RAM, h.NewRAM)
	more := node.Size{CPUs: max(want.CPUs-cpus, 0), RAM: max(want.RAM-ram, 0)}
	h.setSold(cpus+more.CPUs, ram+more.RAM)
	if err := saveSize(ctx, tx, h); err != nil || more == (node.Size{}) {
		return err
	}
	add := account.Usage{account.CPUNumber: int64(more.CPUs), account.RAMMiB: int64(more.RAM)}
	var charged, taken bool
	err := tx.Last(ctx, func(b *pgx.Batch) {
		account.QueueCharge(b, h.AccountID, add, &charged)
		node.QueueGrow(b, h.NodeID, more, &taken)
	})
	switch {
	case err != nil:
		return err
	case !charged:
		if err := account.Allow(ctx, tx, h.AccountID, add); err != nil {
			return err
		}
		return ErrBusy // a host was deleted meanwhile: the limit is no longer in the way
	case !taken:
		return node.ErrNoCapacity.With("the node of the host has no %d MiB free", more.RAM).On("ram_mib")
	}
	return nil
}

func orElse(n int32, old *int32) *int32 {
	if n == 0 {
		return old
	}
	return &n
}

// saveSize stores the sizes of a host, what waits, and the limits.
func saveSize(ctx context.Context, tx *unit.Tx, h *Host) error {
	_, err := tx.Exec(ctx, `
		UPDATE host SET cpu_number = $2, ram_mib = $3, cpu_number_new = $4, ram_mib_new = $5, cpu_sold = $6, ram_sold = $7,
			resize_task = $8, limits = $9, limits_new = $10, changed_at = now()
		WHERE id = $1`,
		h.ID, h.CPUs, h.RAM, h.NewCPUs, h.NewRAM, h.SoldCPUs, h.SoldRAM, h.ResizeTask, h.Limits, h.NewLimits)
	return err
}

// settleSize changes the sizes of a locked host by change, then gives back what is sold for it beyond what it has and what
// waits for its next start.
func settleSize(ctx context.Context, tx *unit.Tx, id int32, change func(*Host)) error {
	h, err := Lock(ctx, tx, id, 0)
	if errors.Is(err, fault.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	cpus, ram := h.Sold()
	change(h)
	h.drop()
	if err := saveSize(ctx, tx, h); err != nil {
		return err
	}
	nowCPUs, nowRAM := h.Sold()
	if nowCPUs == cpus && nowRAM == ram {
		return nil
	}
	b := &pgx.Batch{}
	account.QueueRefund(b, h.AccountID, account.Usage{account.CPUNumber: int64(cpus - nowCPUs), account.RAMMiB: int64(ram - nowRAM)})
	node.QueueRelease(b, h.NodeID, node.Size{CPUs: cpus - nowCPUs, RAM: ram - nowRAM})
	return tx.SendBatch(ctx, b).Close()
}

// Resized records how a job left the size and the limits of a host. The host may be gone.
func (t rows) Resized(ctx context.Context, id, job int32, change func(*Host)) error {
	return settleSize(ctx, t.Tx, id, func(h *Host) {
		change(h)
		if h.ResizeTask != nil && *h.ResizeTask == job {
			h.ResizeTask = nil
		}
	})
}

// started records with which size a machine was started: the zero value is the one that waited. Nothing waits any longer, but
// for what a job is still to try.
func started(ctx context.Context, tx *unit.Tx, id int32, size machine.Size) error {
	return settleSize(ctx, tx, id, func(h *Host) {
		if size.CPUs != 0 && size.RAM != 0 {
			h.CPUs, h.RAM = size.CPUs, size.RAM
			h.takeLimits()
			return
		}
		h.takeOver()
	})
}

// Halted records that a host which stopped has what waited for that.
func Halted(ctx context.Context, tx *unit.Tx, id int32) error {
	return settleSize(ctx, tx, id, func(h *Host) {
		if h.ResizeTask == nil {
			h.takeOver()
		}
	})
}
