package ipchange

import (
	"context"

	"github.com/jackc/pgx/v5"

	ippb "slipway.dev/proto/ip/v3"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/jobs"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/vm/internal/address"
	"slipway.dev/services/vm/internal/host"
	"slipway.dev/services/vm/internal/machine"
)

// Kinds of jobs, the dialect's names of the tasks.
const (
	changeKind = "ip_change"
	deleteKind = "ip_delete"
	freeKind   = "ip_free"
)

// attempts last some minutes with the runner's backoff, capped at 30 s.
const attempts = 8

// freeArgs is the argument of the job that gives back what a host has no more.
type freeArgs struct {
	UUID      string          `json:"uuid"`
	Addresses map[int32]int32 `json:"addresses"` // id and generation
}

// Tx is what jobs do in the unit of work in which they end.
type Tx interface {
	Host(ctx context.Context, id, owner int32) (*host.Host, error)
	AddressesChanged(ctx context.Context, host, job int32) (gone []address.Address, err error)
	AddressesUnchanged(ctx context.Context, host, job int32) error
	Enqueue(ctx context.Context, n jobs.New) (jobs.Job, error)
	host.Emitter
}

// rows are the tables in a unit of work.
type rows struct{ *unit.Tx }

// Rows returns the Tx of the tables.
func Rows(tx *unit.Tx) Tx { return rows{tx} }

func (t rows) Host(ctx context.Context, id, owner int32) (*host.Host, error) {
	return host.Lock(ctx, t.Tx, id, owner)
}

func (t rows) AddressesChanged(ctx context.Context, id, job int32) ([]address.Address, error) {
	gone, err := address.Changed(ctx, t.Tx, id, job)
	if err != nil || len(gone) == 0 {
		return gone, err
	}
	return gone, followMain(ctx, t.Tx, id, gone)
}

func (t rows) AddressesUnchanged(ctx context.Context, id, job int32) error {
	return address.Unchanged(ctx, t.Tx, id, job)
}

// worker carries out changes of addresses.
type worker struct {
	in    func(pgx.Tx) Tx
	ip    ippb.AddressServiceClient
	steps *machine.Steps
}

// Register registers the handlers that change addresses. in returns the Tx of a job's transaction.
func Register(r *jobs.Runner, in func(pgx.Tx) Tx, steps *machine.Steps, ip ippb.AddressServiceClient) {
	w := &worker{in, ip, steps}
	w.registerPTR(r)
	for _, kind := range []string{changeKind, deleteKind} {
		jobs.Handle(r, kind, jobs.Handler[machine.Args]{
			Steps: []jobs.Step[machine.Args]{
				{Name: "address", Do: w.confirm, Undo: w.release, Timeout: machine.StepTime, Apart: true},
				{Name: "network", Do: w.network, Timeout: machine.StepTime},
				{Name: "seed", Do: steps.EnsureSeed, Undo: steps.RestoreSeed, Timeout: machine.StepTime},
				{Name: "define", Do: steps.Define, Undo: steps.RestoreDefinition, Timeout: machine.StepTime},
			},
			Done: w.changed, Failed: w.unchanged, Attempts: attempts,
		})
	}
	jobs.Handle(r, freeKind, jobs.Handler[freeArgs]{
		Steps: []jobs.Step[freeArgs]{{Name: "address", Do: w.free, Timeout: machine.StepTime, Apart: true}},
	})
}

// confirm confirms what the request reserved. It may run twice: confirming what is confirmed succeeds.
func (w *worker) confirm(ctx context.Context, _ *jobs.Run, a machine.Args) error {
	for _, key := range a.Keys {
		if _, err := w.ip.Confirm(ctx, &ippb.ConfirmRequest{Owner: a.UUID, Key: key}); err != nil {
			return err
		}
	}
	return nil
}

// network gives the bridge what the host needs. An address that the node itself has is held, so that the next request
// does not get it. It may run twice, as its parts may.
func (w *worker) network(ctx context.Context, run *jobs.Run, a machine.Args) error {
	return machine.Withhold(ctx, w.ip, a, w.steps.EnsureNetwork(ctx, run, a))
}

// release gives back what the request reserved, once the node has the host as it was before. The addresses need no
// quarantine when neither the seed nor the definition of the machine had them. It may run twice: releasing what is not
// held succeeds.
func (w *worker) release(ctx context.Context, run *jobs.Run, a machine.Args) error {
	unused := !run.Began("seed") && !run.Began("define")
	for _, key := range a.Keys {
		if _, err := w.ip.Release(ctx, &ippb.ReleaseRequest{Owner: a.UUID, Key: key, Unused: unused}); err != nil {
			return err
		}
	}
	return nil
}

// changed records what the node has confirmed. Only now are the addresses that the host has no more given back, by a
// job of their own: it is never given up, and holds up no other job of the host.
func (w *worker) changed(ctx context.Context, tx pgx.Tx, run *jobs.Run, a machine.Args) error {
	t := w.in(tx)
	h, err := t.Host(ctx, a.ID, 0)
	if err != nil {
		return err
	}
	gone, err := t.AddressesChanged(ctx, a.ID, run.ID)
	if err != nil {
		return err
	}
	if len(gone) > 0 {
		f := freeArgs{UUID: a.UUID, Addresses: map[int32]int32{}}
		for _, x := range gone {
			f.Addresses[x.IPID] = x.Generation
		}
		_, err := t.Enqueue(ctx, jobs.New{
			Kind: freeKind, Key: "address/" + a.UUID, Args: f,
			AccountID: h.AccountID, CreatedBy: run.CreatedBy, RequestID: run.RequestID,
		})
		if err != nil {
			return err
		}
	}
	return host.Emit(ctx, t, h, "updated")
}

// unchanged records that everything was taken back.
func (w *worker) unchanged(ctx context.Context, tx pgx.Tx, run *jobs.Run, a machine.Args, _ *fault.Fault) error {
	return w.in(tx).AddressesUnchanged(ctx, a.ID, run.ID)
}

// free gives addresses back to ip. It may run twice: what is not held in this generation any more is left alone.
func (w *worker) free(ctx context.Context, _ *jobs.Run, a freeArgs) error {
	r := &ippb.ReleaseRequest{Owner: a.UUID}
	for id, generation := range a.Addresses {
		r.Addresses = append(r.Addresses, &ippb.HeldAddress{Id: id, Generation: generation})
	}
	_, err := w.ip.Release(ctx, r)
	return err
}
