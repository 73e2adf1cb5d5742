package work

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc/codes"

	nodepb "slipway.dev/proto/node/v1"

	"slipway.dev/pkg/fault"
	"slipway.dev/services/vm/internal/domain"
	"slipway.dev/services/vm/internal/store"
)

// watchTimeout is how long a node may take to answer.
const watchTimeout = 5 * time.Second

// abreast is how many nodes are asked at once: one that does not answer must not make the others wait. writing is how many
// answers are taken in at once: the database has other work too, the leases of jobs above all.
const (
	abreast = 64
	writing = 4
)

// Watch compares what the nodes say with what is stored, again and again until ctx ends. It corrects states and reports what
// it does not understand. What it removes are leftovers with every proof that they are: absence proves nothing.
func (w *Worker) Watch(ctx context.Context, every time.Duration) error {
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

func (w *Worker) look(ctx context.Context) error {
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

// lookAt asks one node and takes in the answer; the latter while it has a place in written. since is before the question.
func (w *Worker) lookAt(ctx context.Context, a store.Agent, since time.Time, written chan struct{}) error {
	seen, err := w.sights(ctx, a)
	written <- struct{}{}
	defer func() { <-written }()
	if err != nil {
		if a.Alive && fault.Status(err).Code() != codes.Unavailable {
			return err // it answered, with nonsense: what is known stays
		}
		return errors.Join(err, w.store.LoseSight(ctx, a.ID))
	}
	changed, err := w.store.Observe(ctx, a.ID, since, seen)
	if err != nil {
		return err
	}
	if changed > 0 {
		w.log.Info("hosts differ from what was known", "node", a.ID, "changed", changed)
	}
	return w.judgeAll(ctx, a, since, seen)
}

var sight = map[nodepb.MachineState]domain.State{
	nodepb.MachineState_MACHINE_STATE_OFF:     domain.Stopped,
	nodepb.MachineState_MACHINE_STATE_RUNNING: domain.Active,
	nodepb.MachineState_MACHINE_STATE_PAUSED:  domain.Paused,
	nodepb.MachineState_MACHINE_STATE_CRASHED: domain.Crashed,
}

func (w *Worker) sights(ctx context.Context, a store.Agent) ([]store.Sight, error) {
	ctx, cancel := context.WithTimeout(ctx, watchTimeout)
	defer cancel()
	agent, err := w.agent(a.Endpoint)
	if err != nil {
		return nil, err
	}
	resp, err := agent.ListMachines(ctx, &nodepb.ListMachinesRequest{})
	if err != nil {
		return nil, err
	}
	var seen []store.Sight
	for _, m := range resp.GetMachines() {
		id, err := uuid.Parse(m.GetUuid())
		if state, known := sight[m.GetState()]; err == nil && known {
			seen = append(seen, store.Sight{
				UUID: id, State: state, HostID: m.GetHostId(), StackID: m.GetStackId(), NodeID: m.GetNode(), Fence: m.GetFence(),
			})
		}
	}
	return seen, nil
}
