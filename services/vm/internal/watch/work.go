package watch

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"slipway.dev/pkg/pg"
	"slipway.dev/services/vm/internal/host"
	"slipway.dev/services/vm/internal/leftover"
	"slipway.dev/services/vm/internal/node"
)

// writing is how many answers are stored at once: the database has other work too, the leases of jobs above all.
const writing = 4

// Store is what the Watcher needs of vm's rows.
type Store interface {
	Agents(ctx context.Context) ([]node.Agent, error)
	// Begin returns the time of the database, by which rows are dated, and whether no host of the node was changed,
	// made or removed for lately.
	Begin(ctx context.Context, node int32, lately time.Duration) (since time.Time, quiet bool, err error)
	Observe(ctx context.Context, node int32, since time.Time, seen []host.Observation) (host.Difference, error)
	LoseContact(ctx context.Context, node int32) error
}

// Watcher compares what the nodes say with what is stored.
type Watcher struct {
	store  Store
	reaper *leftover.Reaper
	dial   node.Dial
	heard  *heard
	past   *Histories // nil where there is only one
	log    *slog.Logger
	writes chan struct{} // a place for each answer that is being stored
}

// New returns a Watcher. guard, which may be nil, learns the timelines that the nodes have heard of.
func New(s Store, reaper *leftover.Reaper, dial node.Dial, guard *pg.Guard, past *Histories, log *slog.Logger) *Watcher {
	return &Watcher{s, reaper, dial, &heard{guard: guard}, past, log, make(chan struct{}, writing)}
}

// Run looks at each node periodically until ctx ends. It corrects states and reports what it does not understand. It
// removes leftovers that have every proof of being one: absence proves nothing. Each node has a timer of its own, so that
// one that does not answer delays no other.
func (w *Watcher) Run(ctx context.Context, every time.Duration) error {
	patrols := map[int32]*patrol{}
	var all sync.WaitGroup
	defer all.Wait()
	if w.past != nil {
		all.Go(func() { w.keepHistories(ctx) })
	}
	for {
		agents, err := w.store.Agents(ctx)
		if err == nil {
			w.send(ctx, &all, patrols, agents, every)
		} else if ctx.Err() == nil {
			w.log.Warn("watch nodes", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(every):
		}
	}
}

// send makes the patrols those of these agents: new nodes get one, and those that are gone lose theirs.
func (w *Watcher) send(ctx context.Context, all *sync.WaitGroup, patrols map[int32]*patrol, agents []node.Agent, every time.Duration) {
	known := map[int32]bool{}
	w.heard.of(agents)
	for _, a := range agents {
		known[a.ID] = true
		if p := patrols[a.ID]; p != nil {
			p.hear(a)
			continue
		}
		ctx, end := context.WithCancel(ctx)
		p := &patrol{Watcher: w, node: a, every: every, end: end, wake: make(chan struct{}, 1)}
		patrols[a.ID] = p
		all.Go(func() { p.run(ctx, first(a.UUID, every, len(agents))) })
	}
	for id, p := range patrols {
		if !known[id] {
			p.end()
			delete(patrols, id)
		}
	}
}
