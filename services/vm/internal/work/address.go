package work

import (
	"context"

	"github.com/jackc/pgx/v5"

	ippb "slipway.dev/proto/ip/v3"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/jobs"
)

// Free is the argument of the job that gives back what a host has no more.
type Free struct {
	UUID      string          `json:"uuid"`
	Addresses map[int32]int32 `json:"addresses"` // id and generation
}

// confirmKeys may run twice: confirming what is confirmed succeeds.
func (w *Worker) confirmKeys(ctx context.Context, _ *jobs.Run, a Host) error {
	for _, key := range a.Keys {
		if _, err := w.ip.Confirm(ctx, &ippb.ConfirmRequest{Owner: a.UUID, Key: key}); err != nil {
			return err
		}
	}
	return nil
}

// releaseKeys may run twice: releasing what is not held succeeds. It runs after the node has the host as it was before.
func (w *Worker) releaseKeys(ctx context.Context, _ *jobs.Run, a Host) error {
	for _, key := range a.Keys {
		if _, err := w.ip.Release(ctx, &ippb.ReleaseRequest{Owner: a.UUID, Key: key}); err != nil {
			return err
		}
	}
	return nil
}

// restoreSeed may run twice, as ensureSeed may.
func (w *Worker) restoreSeed(ctx context.Context, run *jobs.Run, a Host) error {
	b, agent, err := w.buildBefore(ctx, run, a)
	if err != nil {
		return err
	}
	return restored(writeSeed(ctx, agent, command(run, a), b))
}

// restoreDefinition may run twice, as define may.
func (w *Worker) restoreDefinition(ctx context.Context, run *jobs.Run, a Host) error {
	b, agent, err := w.buildBefore(ctx, run, a)
	if err != nil {
		return err
	}
	return restored(defineOn(ctx, agent, command(run, a), b))
}

// restored is how an undo on the node ended. A machine whose disks are gone has nothing to restore: trying for ever would hold
// up all later jobs of the host, its delete too.
func restored(err error) error {
	if f, ok := fault.From(err); ok && f.Reason == "DISK_NOT_READY" {
		return nil
	}
	return err
}

// addressesChanged records what the node has confirmed. Only now are the addresses that the host has no more given back,
// by a job of their own: it is never given up, and holds up no other job of the host.
func (w *Worker) addressesChanged(ctx context.Context, tx pgx.Tx, run *jobs.Run, a Host) error {
	t := w.store.In(tx)
	h, err := t.Host(ctx, a.ID, 0)
	if err != nil {
		return err
	}
	gone, err := t.AddressesChanged(ctx, a.ID, run.ID)
	if err != nil {
		return err
	}
	if len(gone) > 0 {
		f := Free{UUID: a.UUID, Addresses: map[int32]int32{}}
		for _, x := range gone {
			f.Addresses[x.IPID] = x.Generation
		}
		_, err := t.Enqueue(ctx, jobs.New{
			Kind: IPFree, Key: "address/" + a.UUID, Args: f, AccountID: h.AccountID, CreatedBy: run.CreatedBy, RequestID: run.RequestID,
		})
		if err != nil {
			return err
		}
	}
	return Tell(ctx, t, h, "updated")
}

// addressesUnchanged records that everything was taken back.
func (w *Worker) addressesUnchanged(ctx context.Context, tx pgx.Tx, run *jobs.Run, a Host, _ *fault.Fault) error {
	return w.store.In(tx).AddressesUnchanged(ctx, a.ID, run.ID)
}

// free may run twice: what is not held in this generation any more is left alone.
func (w *Worker) free(ctx context.Context, _ *jobs.Run, a Free) error {
	r := &ippb.ReleaseRequest{Owner: a.UUID}
	for id, generation := range a.Addresses {
		r.Addresses = append(r.Addresses, &ippb.HeldAddress{Id: id, Generation: generation})
	}
	_, err := w.ip.Release(ctx, r)
	return err
}
