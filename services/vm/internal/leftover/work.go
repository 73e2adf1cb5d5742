package leftover

import (
	"context"
	"log/slog"
	"time"

	"github.com/google/uuid"

	nodepb "slipway.dev/proto/node/v1"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/jobs"
	"slipway.dev/services/vm/internal/host"
	"slipway.dev/services/vm/internal/node"
)

// reapKind is the kind of the job that removes a leftover of a deleted host from a node.
const reapKind = "machine_reap"

const attempts = 5

// key returns the key of jobs about a machine that no host is.
func key(id uuid.UUID) string { return "machine/" + id.String() }

// reapArgs is the argument of the job: the proofs, which the agent compares once more with the machine itself.
type reapArgs struct {
	UUID     string `json:"uuid"`
	NodeID   int32  `json:"node_id"`
	Node     string `json:"node"`
	StackID  string `json:"stack_id"`
	MaxFence int64  `json:"max_fence"`
}

// Stranger is a machine that no host is, with what is known of it.
type Stranger struct {
	host.Observation
	Evidence
}

// Store is what the Reaper needs of vm's rows.
type Store interface {
	Strangers(ctx context.Context, node int32, since time.Time, seen []host.Observation) ([]Stranger, error)
	CatchUp(ctx context.Context, fence int64, host int32) (jumped bool, err error)
	KeepStrangers(ctx context.Context, node int32, list []Stranger, verdicts []Verdict) error
	Reap(ctx context.Context, node int32, machine uuid.UUID, machines int, job jobs.New) (may, pending bool, err error)
	Leftover(ctx context.Context, node int32, machine string) (endpoint string, isHost bool, err error)
}

// Reaper classifies strangers and removes leftovers.
type Reaper struct {
	// Classify is the function Classify; tests plant another.
	Classify func(Evidence) Verdict

	store Store
	dial  node.Dial
	log   *slog.Logger
	poke  func() // wakes the runner
}

// New returns a Reaper, and registers the handler of its jobs.
func New(r *jobs.Runner, s Store, dial node.Dial, log *slog.Logger) *Reaper {
	p := &Reaper{Classify: Classify, store: s, dial: dial, log: log, poke: r.Poke}
	jobs.Handle(r, reapKind, jobs.Handler[reapArgs]{
		Steps:    []jobs.Step[reapArgs]{{Name: "remove", Do: p.remove, Timeout: time.Minute}},
		Attempts: attempts,
	})
	return p
}

// Inspect classifies the strangers among what a node saw after the database's time since, has those removed that are
// proven to be leftovers, and stores all verdicts. It returns how many strangers there are.
func (p *Reaper) Inspect(ctx context.Context, nodeID int32, since time.Time, seen []host.Observation) (int, error) {
	strangers, err := p.store.Strangers(ctx, nodeID, since, seen)
	if err != nil {
		return 0, err
	}
	if err := p.catchUp(ctx, nodeID, strangers); err != nil {
		return 0, err
	}
	verdicts := make([]Verdict, len(strangers))
	for i, x := range strangers {
		verdicts[i] = p.Classify(x.Evidence)
		if verdicts[i] == Removed {
			if verdicts[i], err = p.reap(ctx, nodeID, x, len(seen)); err != nil {
				return 0, err
			}
		}
		if verdicts[i] != Removed {
			p.log.Warn("machine of this installation without a host; it is left alone",
				"node", nodeID, "machine", x.UUID, "verdict", verdicts[i])
		}
	}
	return len(strangers), p.store.KeepStrangers(ctx, nodeID, strangers, verdicts)
}

// catchUp moves vm's numbers on if machines of this installation carry higher ones.
func (p *Reaper) catchUp(ctx context.Context, nodeID int32, strangers []Stranger) error {
	fence, id := highest(strangers)
	if fence == 0 && id == 0 {
		return nil
	}
	jumped, err := p.store.CatchUp(ctx, fence, id)
	if jumped {
		p.log.Error("machines are newer than the database: it is an old copy. No number of theirs is given again", "node", nodeID)
	}
	return err
}

// highest returns the highest fence and host id on machines of this installation and node.
func highest(strangers []Stranger) (fence int64, id int32) {
	for _, x := range strangers {
		if Classify(x.Evidence) != NoProof {
			fence, id = max(fence, x.Observation.Fence), max(id, x.HostID)
		}
	}
	return fence, id
}

// reap adds the job that removes a leftover, if the node's breaker lets it.
func (p *Reaper) reap(ctx context.Context, nodeID int32, x Stranger, machines int) (Verdict, error) {
	may, pending, err := p.store.Reap(ctx, nodeID, x.UUID, machines, jobs.New{
		Kind: reapKind, Key: key(x.UUID), CreatedBy: "reconcile", NodeID: nodeID, Args: reapArgs{
			UUID: x.UUID.String(), NodeID: nodeID, Node: x.Node, StackID: x.Installation, MaxFence: x.TombstoneFence,
		},
	})
	p.poke()
	if err != nil || may || pending {
		return Removed, err
	}
	p.log.Error("too many leftovers on one node: nothing more is removed there until the breaker is reset", "node", nodeID)
	return BreakerOpen, nil
}

// remove removes a leftover. It may run twice: removing what is gone succeeds.
func (p *Reaper) remove(ctx context.Context, run *jobs.Run, a reapArgs) error {
	of, err := uuid.Parse(a.Node)
	if _, machineErr := uuid.Parse(a.UUID); err != nil || machineErr != nil {
		return fault.Invalid.With("not a UUID")
	}
	endpoint, isHost, err := p.store.Leftover(ctx, a.NodeID, a.UUID)
	if err != nil {
		return err
	}
	if isHost {
		return fault.Invalid.With("a host has this UUID")
	}
	agent, err := p.dial.Agent(of, endpoint)
	if err != nil {
		return err
	}
	_, err = agent.RemoveMachine(ctx, &nodepb.RemoveMachineRequest{
		Command: &nodepb.Command{Machine: a.UUID, Fence: run.Fence(), Step: run.Step()},
		Proof:   &nodepb.Proof{StackId: a.StackID, Node: a.Node, MaxFence: a.MaxFence},
	})
	return err
}
