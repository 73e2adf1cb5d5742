package ipchange

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	ippb "slipway.dev/proto/ip/v3"

	"slipway.dev/pkg/jobs"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/vm/internal/machine"
)

// ptrKind is the kind of the job that names an address.
const ptrKind = "ptr_change"

// ptrArgs are the address of a host and its new name, "" for none.
type ptrArgs struct {
	UUID   string `json:"uuid"`
	IP     int32  `json:"ip"`
	Domain string `json:"domain"`
}

// Check refuses what no handler ever enqueued.
func (a ptrArgs) Check() error {
	if id, err := uuid.Parse(a.UUID); err != nil || id == uuid.Nil || a.IP <= 0 {
		return fmt.Errorf("address %d of host %q", a.IP, a.UUID)
	}
	return nil
}

// name has ip name the address, unless the host has lost it meanwhile. It may run twice: the same name is no change.
func (w *worker) name(ctx context.Context, run *jobs.Run, a ptrArgs) error {
	resp, err := w.ip.SetPTR(ctx, &ippb.SetPTRRequest{Id: a.IP, Owner: a.UUID, Domain: a.Domain})
	run.Memo = resp
	return err
}

// named keeps the name at once, so that a client that waits for the task reads it. What an earlier attempt set comes by ip's event.
func (w *worker) named(ctx context.Context, tx pgx.Tx, run *jobs.Run, a ptrArgs) error {
	resp, ok := run.Memo.(*ippb.SetPTRResponse)
	if !ok {
		return nil
	}
	return named(ctx, unit.In(tx), a.IP, resp.GetPtrSerial(), resp.GetDomain(), resp.GetPtrState())
}

// registerPTR registers the handler that names addresses.
func (w *worker) registerPTR(r *jobs.Runner) {
	jobs.Handle(r, ptrKind, jobs.Handler[ptrArgs]{
		Steps: []jobs.Step[ptrArgs]{{Name: "address", Do: w.name, Timeout: machine.StepTime, Apart: true}},
		Done:  w.named, Attempts: attempts,
	})
}
