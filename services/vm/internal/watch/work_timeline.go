package watch

import (
	"context"
	"maps"
	"slices"
	"sync"

	nodepb "slipway.dev/proto/node/v1"

	"slipway.dev/pkg/pg"
	"slipway.dev/services/vm/internal/node"
)

const (
	// witnesses is how many nodes must have heard of a timeline before vm believes that a failover has left its database
	// behind, where there are so many: one node that lies must not stop vm.
	witnesses = 2
	// abreast is how many nodes are asked at once at the start.
	abreast = 64
)

// heard are the timelines of the database that the nodes have heard of. Nodes remember the highest for ever.
type heard struct {
	guard *pg.Guard // of the database; nil learns nothing

	mu    sync.Mutex
	nodes int
	by    map[int32]int64 // node
}

// of takes in which nodes there are.
func (h *heard) of(agents []node.Agent) {
	h.mu.Lock()
	defer h.mu.Unlock()
	old := h.by
	h.nodes, h.by = len(agents), map[int32]int64{}
	for _, a := range agents {
		if t, ok := old[a.ID]; ok {
			h.by[a.ID] = t
		}
	}
}

// add takes in what a node has heard of. The guard learns the highest timeline of which enough nodes have heard.
func (h *heard) add(id int32, timeline int64) {
	h.mu.Lock()
	h.by[id] = timeline
	list := slices.Sorted(maps.Values(h.by))
	need := min(witnesses, h.nodes)
	h.mu.Unlock()
	if need > 0 && len(list) >= need {
		h.guard.Learn(list[len(list)-need])
	}
}

// Ask asks all nodes which timelines they have heard of, before vm believes its database. A node that does not answer is
// not waited for longer than for an answer.
func (w *Watcher) Ask(ctx context.Context) error {
	agents, err := w.store.Agents(ctx)
	if err != nil {
		return err
	}
	w.heard.of(agents)
	w.each(agents, func(i int) {
		_, _ = w.ask(ctx, agents[i], &nodepb.ListMachinesRequest{}) // one that does not answer has nothing to say
	})
	return nil
}

// each calls f for the number of each agent, for some at once.
func (w *Watcher) each(agents []node.Agent, f func(i int)) {
	var all sync.WaitGroup
	asked := make(chan struct{}, abreast)
	for i := range agents {
		asked <- struct{}{}
		all.Go(func() {
			defer func() { <-asked }()
			f(i)
		})
	}
	all.Wait()
}

// ask asks a node for its machines, and takes in the timeline that it has heard of.
func (w *Watcher) ask(ctx context.Context, a node.Agent, r *nodepb.ListMachinesRequest) (*nodepb.ListMachinesResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	agent, err := w.dial.Agent(a.UUID, a.Endpoint)
	if err != nil {
		return nil, err
	}
	resp, err := agent.ListMachines(ctx, r)
	if err == nil {
		w.heard.add(a.ID, resp.GetTimeline())
	}
	return resp, err
}
