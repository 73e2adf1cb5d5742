// Package work carries out vm's operations: it is the only room that touches the world, through the agents of the nodes and
// through ip.
package work

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	ippb "slipway.dev/proto/ip/v3"
	nodepb "slipway.dev/proto/node/v1"
	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/jobs"
	"slipway.dev/services/vm/internal/domain"
	"slipway.dev/services/vm/internal/store"
)

// Kinds of jobs. They are the dialect's task names.
const (
	HostCreate  = "host_create"
	HostStart   = "host_start"
	HostStop    = "host_stop"
	HostRestart = "host_restart"
	HostDelete  = "host_delete"
	IPChange    = "ip_change"
	IPDelete    = "ip_delete"
	IPFree      = "ip_free"
	OSImport    = "os_import"
)

// Attempts at jobs that can be given up. With the runner's backoff, capped at 30 s, they last some minutes; a delete is
// never given up, because the host is gone only when its node says so.
const (
	createAttempts = 12
	powerAttempts  = 8
)

// Host is the argument of all jobs of a host. UUID stands beside the id because a delete must go on when the row is gone.
type Host struct {
	ID    int32  `json:"id"`
	UUID  string `json:"uuid"`
	Force bool   `json:"force,omitempty"`
	// Keys of the reservations that a change of addresses confirms.
	Keys []string `json:"keys,omitempty"`
}

// Check refuses what no handler ever enqueued.
func (a Host) Check() error {
	id, err := uuid.Parse(a.UUID)
	if err == nil && (id == uuid.Nil || a.ID <= 0) {
		err = fmt.Errorf("host %d with UUID %s", a.ID, id)
	}
	return err
}

// Dial connects to the agent at a node's endpoint. The connection is the dialler's to keep.
type Dial func(endpoint string) (nodepb.NodeServiceClient, error)

// Worker carries out jobs.
type Worker struct {
	store Store
	ip    ippb.AddressServiceClient
	dial  Dial
	log   *slog.Logger
	poke  func() // wakes the runner
	// Judge is domain.Judge; tests plant another.
	Judge Judge
}

// New registers the handlers of all kinds of jobs.
func New(r *jobs.Runner, s Store, ip ippb.AddressServiceClient, dial Dial, log *slog.Logger) *Worker {
	w := &Worker{store: s, ip: ip, dial: dial, log: log, poke: r.Poke, Judge: domain.Judge}
	jobs.Handle(r, HostCreate, jobs.Handler[Host]{
		Steps: []jobs.Step[Host]{
			{Name: "address", Do: w.confirmAddress, Undo: w.releaseAddress},
			{Name: "network", Do: w.ensureNetwork},
			{Name: "disk", Do: w.ensureDisks, Undo: w.removeMachine},
			{Name: "seed", Do: w.ensureSeed},
			{Name: "define", Do: w.define},
			{Name: "start", Do: w.start},
		},
		Done: w.become(domain.Active, "activated"), Failed: w.createFailed, Attempts: createAttempts,
	})
	jobs.Handle(r, HostStart, jobs.Handler[Host]{
		Steps: []jobs.Step[Host]{{Name: "network", Do: w.ensureNetwork}, {Name: "start", Do: w.start}},
		Done:  w.become(domain.Active, "started"), Failed: w.fallBack(domain.Stopped), Attempts: powerAttempts,
	})
	jobs.Handle(r, HostStop, jobs.Handler[Host]{
		Steps: []jobs.Step[Host]{{Name: "stop", Do: w.stop}},
		Done:  w.become(domain.Stopped, "stopped"), Failed: w.fallBack(domain.Unknown), Attempts: powerAttempts,
	})
	jobs.Handle(r, HostRestart, jobs.Handler[Host]{
		Steps: []jobs.Step[Host]{{Name: "stop", Do: w.stop}, {Name: "network", Do: w.ensureNetwork}, {Name: "start", Do: w.start}},
		Done:  w.become(domain.Active, "started"), Failed: w.fallBack(domain.Unknown), Attempts: powerAttempts,
	})
	jobs.Handle(r, HostDelete, jobs.Handler[Host]{
		Steps: []jobs.Step[Host]{{Name: "machine", Do: w.removeMachine}, {Name: "address", Do: w.releaseAddress}},
		Done:  w.deleted,
	})
	for _, kind := range []string{IPChange, IPDelete} {
		jobs.Handle(r, kind, jobs.Handler[Host]{
			Steps: []jobs.Step[Host]{
				{Name: "address", Do: w.confirmKeys, Undo: w.releaseKeys},
				{Name: "network", Do: w.ensureNetwork},
				{Name: "seed", Do: w.ensureSeed, Undo: w.restoreSeed},
				{Name: "define", Do: w.define, Undo: w.restoreDefinition},
			},
			Done: w.addressesChanged, Failed: w.addressesUnchanged, Attempts: powerAttempts,
		})
	}
	jobs.Handle(r, IPFree, jobs.Handler[Free]{Steps: []jobs.Step[Free]{{Name: "address", Do: w.free}}})
	jobs.Handle(r, OSImport, jobs.Handler[Import]{
		Steps:  []jobs.Step[Import]{{Name: "download", Do: w.importOS, Timeout: importTimeout}},
		Failed: w.importFailed, Attempts: 3,
	})
	w.registerReap(r)
	return w
}

// agent returns the agent of a host's node.
func (w *Worker) agent(endpoint string) (nodepb.NodeServiceClient, error) {
	c, err := w.dial(endpoint)
	if err != nil {
		return nil, fmt.Errorf("dial agent: %w", err)
	}
	return c, nil
}

// build is a host as it shall be when the job is done.
type build struct {
	*store.Build
	Addresses []domain.Address // those that the host has then
	before    []domain.Address // those that it has until then
}

// build reads what the agent must know of a host, once in an attempt: nothing of it changes while a job of the host runs.
func (w *Worker) build(ctx context.Context, run *jobs.Run, a Host) (*build, error) {
	if b, ok := run.Memo.(*build); ok {
		return b, nil
	}
	stored, err := w.store.Build(ctx, a.ID)
	if err != nil {
		return nil, err
	}
	b := &build{Build: stored}
	b.before, b.Addresses = domain.During(stored.Addresses, run.ID)
	run.Memo = b
	return b, nil
}

// buildOn is build with a connection to the host's node.
func (w *Worker) buildOn(ctx context.Context, run *jobs.Run, a Host) (*build, nodepb.NodeServiceClient, error) {
	b, err := w.build(ctx, run, a)
	if err != nil {
		return nil, nil, err
	}
	agent, err := w.agent(b.Endpoint)
	return b, agent, err
}

// buildBefore is buildOn of the host as it was before the job.
func (w *Worker) buildBefore(ctx context.Context, run *jobs.Run, a Host) (*build, nodepb.NodeServiceClient, error) {
	b, agent, err := w.buildOn(ctx, run, a)
	if err != nil {
		return nil, nil, err
	}
	return &build{Build: b.Build, Addresses: b.before}, agent, nil
}

// command fences an order to an agent: one that comes late, from an attempt that lost its lease, is refused.
func command(run *jobs.Run, a Host) *nodepb.Command {
	return &nodepb.Command{Machine: a.UUID, Fence: run.Fence(), Step: run.Step()}
}

// become records the state that a job led to, unless the host is being deleted by now.
func (w *Worker) become(state domain.State, verb string) func(context.Context, pgx.Tx, *jobs.Run, Host) error {
	return func(ctx context.Context, tx pgx.Tx, _ *jobs.Run, a Host) error {
		return settle(ctx, w.store.In(tx), a, state, verb)
	}
}

// fallBack records the likely state after a job that failed; the next look at the node corrects it.
func (w *Worker) fallBack(state domain.State) func(context.Context, pgx.Tx, *jobs.Run, Host, *fault.Fault) error {
	return func(ctx context.Context, tx pgx.Tx, _ *jobs.Run, a Host, _ *fault.Fault) error {
		return settle(ctx, w.store.In(tx), a, state, "failed")
	}
}

func settle(ctx context.Context, t Tx, a Host, state domain.State, verb string) error {
	h, err := t.Host(ctx, a.ID, 0)
	if errors.Is(err, fault.NotFound) {
		return nil // its create failed, and this waited behind it: the task ends all the same
	}
	if err != nil {
		return err
	}
	if h.State != domain.Deleting {
		h.State = state
		if err := t.SaveHost(ctx, h); err != nil {
			return err
		}
	}
	return Tell(ctx, t, h, verb)
}

// Tell emits what happened to a host; verb is the last word of the event's subject.
func Tell(ctx context.Context, t Emitter, h *domain.Host, verb string) error {
	return t.Emit(ctx, "vm.v3.host."+verb, store.HostKey(h.ID), &vmpb.HostChanged{
		Id: h.ID, Uuid: h.UUID.String(), State: string(h.State),
		AccountId: h.AccountID, ClusterId: h.ClusterID, NodeId: h.NodeID,
	})
}
