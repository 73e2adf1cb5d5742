package watch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc/codes"

	nodepb "slipway.dev/proto/node/v1"

	"slipway.dev/pkg/fault"
	"slipway.dev/services/vm/internal/host"
	"slipway.dev/services/vm/internal/leftover"
	"slipway.dev/services/vm/internal/node"
)

// watchTimeout is how long a node may take to answer.
const watchTimeout = 5 * time.Second

// abreast is how many nodes are asked at once: a node that does not answer must not make the others wait. writing is
// how many answers are stored at once: the database has other work too, the leases of jobs above all.
const (
	abreast = 64
	writing = 4
)

// Store is what the Watcher needs of vm's rows.
type Store interface {
	Agents(ctx context.Context) ([]node.Agent, error)
	Now(ctx context.Context) (time.Time, error)
	Observe(ctx context.Context, node int32, since time.Time, seen []host.Observation) (changed int64, err error)
	LoseContact(ctx context.Context, node int32) error
	FoldCounts(ctx context.Context) error
}

// Watcher compares what the nodes say with what is stored.
type Watcher struct {
	store  Store
	reaper *leftover.Reaper
	dial   node.Dial
	log    *slog.Logger
}

// New returns a Watcher.
func New(s Store, reaper *leftover.Reaper, dial node.Dial, log *slog.Logger) *Watcher {
	return &Watcher{s, reaper, dial, log}
}

// Run looks at all nodes periodically until ctx ends. It corrects states and reports what it does not understand. It
// removes leftovers that have every proof of being one: absence proves nothing.
func (w *Watcher) Run(ctx context.Context, every time.Duration) error {
	for {
		if err := w.look(ctx); err != nil && ctx.Err() == nil {
			w.log.Warn("watch nodes", "err", err)
		}
		if err := w.store.FoldCounts(ctx); err != nil && ctx.Err() == nil {
			w.log.Warn("fold counts of hosts", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(every):
		}
	}
}

// look asks all nodes once.
func (w *Watcher) look(ctx context.Context) error {
	since, err := w.store.Now(ctx)
	if err != nil {
		return err
	}
	agents, err := w.store.Agents(ctx)
	if err != nil {
		return err
	}
	problems := make([]error, len(agents))
	asked, written := make(chan struct{}, abreast), make(chan struct{}, writing)
	var all sync.WaitGroup
	for i, a := range agents {
		asked <- struct{}{}
		all.Go(func() {
			defer func() { <-asked }()
			problems[i] = w.lookAt(ctx, a, since, written)
		})
	}
	all.Wait()
	return errors.Join(problems...)
}

// lookAt asks one node and stores the answer; the latter while it has a place in written. since is before the question.
func (w *Watcher) lookAt(ctx context.Context, a node.Agent, since time.Time, written chan struct{}) error {
	seen, err := w.observe(ctx, a)
	written <- struct{}{}
	defer func() { <-written }()
	if err != nil {
		if a.Alive && fault.Status(err).Code() != codes.Unavailable {
			return err // the answer makes no sense: what is stored stays
		}
		return errors.Join(err, w.store.LoseContact(ctx, a.ID))
	}
	changed, err := w.store.Observe(ctx, a.ID, since, seen)
	if err != nil {
		return err
	}
	if changed > 0 {
		w.log.Info("hosts differ from what was known", "node", a.ID, "changed", changed)
	}
	return w.reaper.Inspect(ctx, a.ID, since, seen)
}

// states are the states of hosts whose machines are in these states.
var states = map[nodepb.MachineState]host.State{
	nodepb.MachineState_MACHINE_STATE_OFF:     host.Stopped,
	nodepb.MachineState_MACHINE_STATE_RUNNING: host.Active,
	nodepb.MachineState_MACHINE_STATE_PAUSED:  host.Paused,
	nodepb.MachineState_MACHINE_STATE_CRASHED: host.Crashed,
}

// observe asks one node for its machines.
func (w *Watcher) observe(ctx context.Context, a node.Agent) ([]host.Observation, error) {
	ctx, cancel := context.WithTimeout(ctx, watchTimeout)
	defer cancel()
	agent, err := w.dial.Agent(a.UUID, a.Endpoint)
	if err != nil {
		return nil, fmt.Errorf("dial agent: %v", err) //nolint:errorlint // a node that was not asked is not one that is silent
	}
	resp, err := agent.ListMachines(ctx, &nodepb.ListMachinesRequest{})
	if err != nil {
		return nil, err
	}
	var seen []host.Observation
	for _, m := range resp.GetMachines() {
		id, err := uuid.Parse(m.GetUuid())
		if state, known := states[m.GetState()]; err == nil && known {
			seen = append(seen, host.Observation{
				UUID: id, State: state, HostID: m.GetHostId(), StackID: m.GetStackId(), NodeID: m.GetNode(), Fence: m.GetFence(),
			})
		}
	}
	return seen, nil
}
