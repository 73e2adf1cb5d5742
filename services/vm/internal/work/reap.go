package work

import (
	"context"
	"time"

	"github.com/google/uuid"

	nodepb "slipway.dev/proto/node/v1"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/jobs"
	"slipway.dev/services/vm/internal/domain"
	"slipway.dev/services/vm/internal/store"
)

// MachineReap removes a leftover of a deleted host from a node.
const MachineReap = "machine_reap"

const reapAttempts = 5

// Leftover is the argument of MachineReap: the proofs, which the agent compares once more with the machine itself.
type Leftover struct {
	UUID     string `json:"uuid"`
	NodeID   int32  `json:"node_id"`
	Node     string `json:"node"`
	StackID  string `json:"stack_id"`
	MaxFence int64  `json:"max_fence"`
}

// Judge decides what becomes of a machine that is no host.
type Judge func(domain.Evidence) domain.Verdict

// judgeAll looks at the strangers on a node, has removed what is proven to be a leftover, and stores what it made of each.
func (w *Worker) judgeAll(ctx context.Context, a store.Agent, since time.Time, seen []store.Sight) error {
	strangers, err := w.store.Strangers(ctx, a.ID, since, seen)
	if err != nil {
		return err
	}
	jumped, err := w.store.CatchUp(ctx, strangers)
	if err != nil {
		return err
	}
	if jumped {
		w.log.Error("machines are newer than the database: it is an old copy. No number of theirs is given again", "node", a.ID)
	}
	verdicts := make([]domain.Verdict, len(strangers))
	for i, x := range strangers {
		verdicts[i] = w.Judge(x.Evidence)
		if verdicts[i] == domain.Removed {
			if verdicts[i], err = w.reap(ctx, a, x, len(seen)); err != nil {
				return err
			}
		}
		if verdicts[i] != domain.Removed {
			w.log.Warn("machine of this installation without a host; it is left alone",
				"node", a.ID, "machine", x.UUID, "verdict", verdicts[i])
		}
	}
	return w.store.KeepStrangers(ctx, a.ID, strangers, verdicts)
}

// reap makes the job that removes a leftover, if the node's breaker lets it.
func (w *Worker) reap(ctx context.Context, a store.Agent, x store.Stranger, machines int) (v domain.Verdict, err error) {
	err = w.store.InTx(ctx, func(tx Tx) error {
		v = domain.Removed
		may, pending, err := tx.MayReap(ctx, a.ID, x.UUID, machines)
		if err != nil || pending {
			return err
		}
		if !may {
			v = domain.BreakerOpen
			return nil
		}
		_, err = tx.Enqueue(ctx, jobs.New{Kind: MachineReap, Key: store.MachineKey(x.UUID), CreatedBy: "reconcile", Args: Leftover{
			UUID: x.UUID.String(), NodeID: a.ID, Node: x.Node, StackID: x.Installation, MaxFence: x.BuriedFence,
		}})
		return err
	})
	w.poke()
	if v == domain.BreakerOpen && err == nil {
		w.log.Error("too many leftovers on one node: nothing more is removed there until the breaker is reset", "node", a.ID)
	}
	return v, err
}

// removeLeftover may run twice: removing what is not there succeeds.
func (w *Worker) removeLeftover(ctx context.Context, run *jobs.Run, a Leftover) error {
	if _, err := uuid.Parse(a.UUID); err != nil {
		return fault.Invalid.With("not a UUID")
	}
	endpoint, host, err := w.store.Leftover(ctx, a.NodeID, a.UUID)
	if err != nil {
		return err
	}
	if host {
		return fault.Invalid.With("a host has this UUID")
	}
	agent, err := w.agent(endpoint)
	if err != nil {
		return err
	}
	_, err = agent.RemoveMachine(ctx, &nodepb.RemoveMachineRequest{
		Command: &nodepb.Command{Machine: a.UUID, Fence: run.Fence(), Step: run.Step()},
		Proof:   &nodepb.Proof{StackId: a.StackID, Node: a.Node, MaxFence: a.MaxFence},
	})
	return err
}

// registerReap registers the handler of MachineReap.
func (w *Worker) registerReap(r *jobs.Runner) {
	jobs.Handle(r, MachineReap, jobs.Handler[Leftover]{
		Steps:    []jobs.Step[Leftover]{{Name: "remove", Do: w.removeLeftover, Timeout: time.Minute}},
		Attempts: reapAttempts,
	})
}
