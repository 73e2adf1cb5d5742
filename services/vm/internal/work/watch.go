package work

import (
	"context"
	"errors"
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

// Watch compares what the nodes say with what is stored, again and again until ctx ends. It corrects states and reports what it does not
// understand; it never destroys anything: absence proves nothing.
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
	agents, err := w.store.Agents(ctx)
	if err != nil {
		return err
	}
	var problems []error
	for _, a := range agents {
		problems = append(problems, w.lookAt(ctx, a))
	}
	return errors.Join(problems...)
}

func (w *Worker) lookAt(ctx context.Context, a store.Agent) error {
	since, err := w.store.Now(ctx)
	if err != nil {
		return err
	}
	seen, err := w.sights(ctx, a)
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
	strangers, err := w.store.Strangers(ctx, seen)
	for _, id := range strangers {
		w.log.Warn("machine of this installation without a host; it is left alone", "node", a.ID, "machine", id)
	}
	return err
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
			seen = append(seen, store.Sight{UUID: id, State: state})
		}
	}
	return seen, nil
}
