package watch

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc"

	nodepb "slipway.dev/proto/node/v1"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/jobs"
	"slipway.dev/services/vm/internal/host"
	"slipway.dev/services/vm/internal/leftover"
	"slipway.dev/services/vm/internal/node"
)

const every = 10 * time.Second

// estate is nodes in simulated time, and what the watch stores of them.
type estate struct {
	leftover.Store
	mu     sync.Mutex
	nodes  map[int32]*agent
	noisy  bool          // hosts of all nodes were changed lately
	left   int64         // hosts that cannot be compared
	odd    int           // strangers on each node
	unread error         // strangers cannot be told
	jump   time.Duration // of the database's clock
	broken error         // of the database
	taken  map[int32]int // lists that were stored, by node
	lost   map[int32]int // nodes that were taken for silent
	asked  map[int32][]time.Duration
	start  time.Time
	undone bool // nodes cannot be dialled
}

// agent is the agent of one node.
type agent struct {
	nodepb.NodeServiceClient
	e       *estate
	id      int32
	alive   bool
	silent  bool  // does not answer
	refuses error // answers with this
	list    string
}

func newEstate(n int) *estate {
	e := &estate{nodes: map[int32]*agent{}, taken: map[int32]int{}, lost: map[int32]int{}, asked: map[int32][]time.Duration{}, start: time.Now()}
	for i := range int32(n) {
		e.nodes[i+1] = &agent{e: e, id: i + 1, alive: true, list: "a"}
	}
	return e
}

func (e *estate) with(f func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	f()
}

func uuidOf(id int32) uuid.UUID { return uuid.NewSHA1(uuid.Nil, fmt.Append(nil, id)) }

// watched runs the watch for so long after each of the steps.
func (e *estate) watched(t *testing.T, run time.Duration, steps ...func()) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error)
	log := slog.New(slog.DiscardHandler)
	w := New(e, leftover.New(jobs.NewRunner(nil, jobs.Config{}), e, e.dial, log), e.dial, nil, nil, log)
	go func() { done <- w.Run(ctx, every) }()
	time.Sleep(run)
	for _, step := range steps {
		e.with(step)
		time.Sleep(run)
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func (e *estate) dial(id uuid.UUID, _ string) (nodepb.NodeServiceClient, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, a := range e.nodes {
		if uuidOf(a.id) == id && !e.undone {
			return a, nil
		}
	}
	return nil, fault.NotFound
}

func (a *agent) ListMachines(ctx context.Context, r *nodepb.ListMachinesRequest, _ ...grpc.CallOption) (*nodepb.ListMachinesResponse, error) {
	a.e.mu.Lock()
	a.e.asked[a.id] = append(a.e.asked[a.id], time.Since(a.e.start))
	silent, refuses, list := a.silent, a.refuses, a.list
	a.e.mu.Unlock()
	if silent {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return &nodepb.ListMachinesResponse{AsOf: list, Unchanged: r.GetAsOf() == list}, refuses
}

func (e *estate) Agents(context.Context) (list []node.Agent, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, a := range e.nodes {
		list = append(list, node.Agent{ID: a.id, UUID: uuidOf(a.id), Endpoint: "e", Alive: a.alive})
	}
	return list, e.broken
}

func (e *estate) Begin(context.Context, int32, time.Duration) (time.Time, bool, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return time.Now().Add(e.jump), !e.noisy, e.broken
}

func (e *estate) Observe(_ context.Context, id int32, _ time.Time, _ []host.Observation) (host.Difference, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.taken[id]++
	return host.Difference{Left: e.left}, nil
}

func (e *estate) Strangers(context.Context, int32, time.Time, []host.Observation) ([]leftover.Stranger, error) {
	return make([]leftover.Stranger, e.odd), e.unread
}

func (e *estate) KeepStrangers(context.Context, int32, []leftover.Stranger, []leftover.Verdict) error {
	return nil
}

func (e *estate) LoseContact(_ context.Context, id int32) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.lost[id]++
	return nil
}

// TestSilenceIsItsOwn: a hundred of a thousand nodes do not answer. The others are asked as often as ever, and the silent
// ones more and more seldom.
func TestSilenceIsItsOwn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := newEstate(1000)
		for id, a := range e.nodes {
			a.silent, a.alive = id <= 100, id > 100
		}
		e.watched(t, 2*time.Minute)
		for id, a := range e.nodes {
			asked := e.asked[id]
			for i := 1; i < len(asked); i++ {
				if gap := asked[i] - asked[i-1]; !a.silent && gap > every+time.Second {
					t.Fatalf("node %d was asked after %s", id, gap)
				}
			}
			switch n := len(asked); {
			case !a.silent && (n < 11 || asked[0] > every || e.lost[id] > 0):
				t.Fatalf("node %d was asked %d times, first after %s, and lost %d times", id, n, asked[0], e.lost[id])
			case a.silent && (n < 3 || n > 7 || e.lost[id] < 3):
				t.Fatalf("silent node %d was asked %d times and lost %d times", id, n, e.lost[id])
			}
		}
	})
}

// TestNodeComesBack: a silent node is asked at once when it gives a sign of life again, or from another place.
func TestNodeComesBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := newEstate(1)
		a := e.nodes[1]
		a.silent, a.alive = true, false
		const away = 5*time.Minute + 17*time.Second // in the middle of a pause
		e.watched(t, away, func() { a.silent, a.alive = false, true })
		back := slices.IndexFunc(e.asked[1], func(d time.Duration) bool { return d > away })
		if back < 0 || e.asked[1][back] > away+every+time.Second || e.asked[1][back+2]-e.asked[1][back] > 2*every+time.Second {
			t.Errorf("after its return the node was asked at %v", e.asked[1][max(back, 0):])
		}
	})
}

// TestSignsEnd: a node that fails is asked at once when its signs of life end too, and is silent then.
func TestSignsEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := newEstate(1)
		a := e.nodes[1]
		a.silent = true // though it gives signs of life
		e.watched(t, every+answerTime+time.Second, func() {}, func() {}, func() {
			if e.lost[1] > 0 {
				t.Errorf("the node was lost %d times while it gave signs of life", e.lost[1])
			}
			a.alive = false
		})
		if e.lost[1] == 0 {
			t.Error("the node was not lost when its signs of life ended")
		}
	})
}

// TestAsBefore: a list that is as before is stored again only if something may be left to compare.
func TestAsBefore(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		change func(*estate)
		all    bool // every look stores the list
	}{
		"nothing":               {func(*estate) {}, false},
		"hosts were changed":    {func(e *estate) { e.noisy = true }, true},
		"hosts that are busy":   {func(e *estate) { e.left = 1 }, true},
		"strangers":             {func(e *estate) { e.odd = 1 }, true},
		"strangers not told":    {func(e *estate) { e.unread = fault.Internal }, true},
		"an agent of before":    {func(e *estate) { e.nodes[1].list = "" }, true},
		"an agent that refuses": {func(e *estate) { e.nodes[1].refuses = fault.Internal }, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				e := newEstate(1)
				tt.change(e)
				e.watched(t, 65*time.Second)
				want := 1
				if tt.all {
					want = len(e.asked[1])
				}
				if e.nodes[1].refuses != nil {
					want = 0
				}
				if e.taken[1] != want {
					t.Errorf("of %d lists, %d were stored", len(e.asked[1]), e.taken[1])
				}
			})
		})
	}
}

// TestStoredAnew: after each of these a list is stored once more, though the node says that it is as before.
func TestStoredAnew(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*estate){
		"another list":                   func(e *estate) { e.nodes[1].list = "b" },
		"the database's clock goes on":   func(e *estate) { e.jump = time.Hour },
		"the database's clock goes back": func(e *estate) { e.jump = -time.Hour },
		"the node was silent":            func(e *estate) { e.nodes[1].refuses = fault.Unavailable },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				e := newEstate(1)
				e.watched(t, 35*time.Second, func() { change(e) }, func() { e.nodes[1].refuses = nil })
				if e.taken[1] != 2 {
					t.Errorf("the list was stored %d times", e.taken[1])
				}
			})
		})
	}
}

// TestNotAskedIsNotSilent: hosts of a node become unknown if the node does not answer, and not if this process has no way
// to the node.
func TestNotAskedIsNotSilent(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		change func(*estate)
		lost   bool
	}{
		"not dialled, alive":         {func(e *estate) { e.undone = true }, false},
		"not dialled, no sign":       {func(e *estate) { e.undone, e.nodes[1].alive = true, false }, false},
		"unavailable":                {func(e *estate) { e.nodes[1].refuses = fault.Unavailable }, true},
		"nonsense, alive":            {func(e *estate) { e.nodes[1].refuses = fault.Internal }, false},
		"nonsense, no sign":          {func(e *estate) { e.nodes[1].refuses, e.nodes[1].alive = fault.Internal, false }, true},
		"no answer, no sign of life": {func(e *estate) { e.nodes[1].silent, e.nodes[1].alive = true, false }, true},
		"the database is away":       {func(e *estate) { e.broken = fault.Unavailable }, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				e := newEstate(1)
				e.watched(t, 35*time.Second, func() { tt.change(e) })
				if (e.lost[1] > 0) != tt.lost {
					t.Errorf("the node was taken for silent %d times", e.lost[1])
				}
			})
		})
	}
}

// TestDatabaseComesBack: while the database is away no node counts as failing, so all are asked as soon as it is back.
func TestDatabaseComesBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := newEstate(20)
		e.watched(t, 2*time.Minute, func() { e.broken = fault.Unavailable }, func() { e.broken = nil })
		for id, asked := range e.asked {
			if i := slices.IndexFunc(asked, func(d time.Duration) bool { return d > 4*time.Minute }); i < 0 || asked[i] > 4*time.Minute+every+time.Second {
				t.Errorf("node %d was asked at %v", id, asked[max(i, 0):])
			}
		}
	})
}

// TestNodeIsRemoved: a node that is no longer listed is not asked any more.
func TestNodeIsRemoved(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := newEstate(2)
		e.watched(t, time.Minute, func() { delete(e.nodes, 2) })
		last := e.asked[2][len(e.asked[2])-1]
		if last > time.Minute+every || e.asked[1][len(e.asked[1])-1] < 100*time.Second {
			t.Errorf("the removed node was asked last at %s", last)
		}
	})
}
