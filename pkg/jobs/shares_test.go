package jobs_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"slipway.dev/pkg/jobs"
	"slipway.dev/pkg/jobs/jobsim"
)

// plant is a queue in memory with replicas that work on it in simulated time. A call of the database takes a millisecond.
type plant struct {
	*testing.T
	m        *jobsim.Memory
	cfg      jobs.Config
	kinds    func(*jobs.Runner) // adds handlers
	replicas []*jobs.Runner
	stop     func()      // and waits
	away     atomic.Bool // the database

	mu   sync.Mutex
	busy map[*jobs.Runner]int // running steps
}

// startPlant starts replicas that carry out jobs of kind "work" by do, for the time of the test.
func startPlant(t *testing.T, replicas int, cfg jobs.Config, do func(context.Context, *jobs.Run) error) *plant {
	t.Helper()
	p := &plant{T: t, m: jobsim.New(time.Now), cfg: cfg, busy: map[*jobs.Runner]int{}}
	p.kinds = func(r *jobs.Runner) {
		jobs.Handle(r, "work", jobs.Handler[args]{Attempts: 50, Steps: []jobs.Step[args]{{
			Name: "disk", Timeout: time.Minute,
			Do: func(ctx context.Context, run *jobs.Run, _ args) error {
				p.count(r, 1)
				defer p.count(r, -1)
				return do(ctx, run)
			},
		}}})
	}
	p.start(replicas)
	t.Cleanup(func() { p.stop() })
	return p
}

// start starts replicas.
func (p *plant) start(n int) {
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	p.stop = func() {
		cancel()
		all.Wait()
	}
	p.replicas = nil
	for i := range n {
		p.cfg.Name = fmt.Sprint("r", i)
		r := jobsim.NewRunner(p.m, func(_ context.Context, _ string, do func() error) error {
			time.Sleep(time.Millisecond)
			if p.away.Load() {
				return errCut
			}
			return do()
		}, p.cfg)
		p.kinds(r)
		p.replicas = append(p.replicas, r)
		all.Go(func() { _ = r.Run(ctx) })
	}
}

// restart starts the replicas anew, with the handlers of kinds.
func (p *plant) restart() {
	p.stop()
	p.start(len(p.replicas))
}

func (p *plant) count(r *jobs.Runner, n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.busy[r] += n
}

// running returns how many steps the first replica runs.
func (p *plant) running() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.busy[p.replicas[0]]
}

// add adds n jobs of an account on a node, each with a key of its own, and pokes one replica.
func (p *plant) add(account, node int32, n int) []int32 {
	return p.addKind("work", account, node, n)
}

// kind adds n jobs of a kind for account 7 on node 1.
func (p *plant) kind(kind string, n int) []int32 { return p.addKind(kind, 7, 1, n) }

// cancel cancels jobs.
func (p *plant) cancel(ids []int32) {
	for _, j := range p.m.Jobs() {
		if slices.Contains(ids, j.ID) {
			_ = p.m.Do(func(tx *jobsim.Tx) error {
				tx.Cancel(j.Key)
				return nil
			})
		}
	}
	p.replicas[0].Poke()
}

func (p *plant) addKind(kind string, account, node int32, n int) (ids []int32) {
	_ = p.m.Do(func(tx *jobsim.Tx) error {
		for i := range n {
			j, err := tx.Enqueue(jobs.New{
				Kind: kind, Key: fmt.Sprint(kind, account, node, time.Now(), i), AccountID: account, NodeID: node,
			})
			if err != nil {
				return err
			}
			ids = append(ids, j.ID)
		}
		return nil
	})
	p.replicas[int(node)%len(p.replicas)].Poke()
	return ids
}

// took returns how long jobs took from their making to their end, which must have come.
func (p *plant) took(ids []int32) (longest time.Duration) {
	p.Helper()
	for _, j := range p.m.Jobs() {
		if !slices.Contains(ids, j.ID) {
			continue
		}
		if j.State != jobs.Done {
			p.Fatalf("job %d of account %d on node %d is %s: %s", j.ID, j.AccountID, j.NodeID, j.State, j.Error)
		}
		longest = max(longest, j.FinishedAt.Sub(j.CreatedAt))
	}
	return longest
}

// healthy is a step that takes a tenth of a second; hangs waits for the end of its context.
func healthy(ctx context.Context, _ *jobs.Run) error {
	time.Sleep(100 * time.Millisecond)
	return ctx.Err()
}

func hangs(ctx context.Context, _ *jobs.Run) error {
	<-ctx.Done()
	return ctx.Err()
}

// shared are the defaults of vm, for 8 workers.
var shared = jobs.Config{Workers: 8, NodeShare: 0.5, AccountShare: 0.75, Poll: 250 * time.Millisecond}

// bursts adds 16 jobs on node 2 every two seconds, and returns how long each burst took.
func (p *plant) bursts(account int32) (list []time.Duration) {
	for range 45 {
		ids := p.add(account, 2, 16)
		time.Sleep(2 * time.Second)
		list = append(list, p.took(ids))
	}
	return list
}

// TestHungNodeDelaysNoOther has 20 jobs of node 1, whose step hangs, beside bursts of jobs on node 2, for one account and
// for two: with two replicas no burst takes longer than in an installation where node 1 does not hang.
func TestHungNodeDelaysNoOther(t *testing.T) {
	t.Parallel()
	for _, account := range []int32{0, 7, 8} {
		measure := func(hung int) (list []time.Duration) {
			synctest.Test(t, func(t *testing.T) {
				p := startPlant(t, 2, shared, func(ctx context.Context, run *jobs.Run) error {
					if run.NodeID == 1 {
						return hangs(ctx, run)
					}
					return healthy(ctx, run)
				})
				p.add(7, 1, hung)
				list = p.bursts(account)
			})
			return list
		}
		alone, beside := measure(0), measure(20)
		var before, after time.Duration
		for i := range alone {
			before, after = before+alone[i], after+beside[i]
		}
		t.Logf("account %d: bursts took %s in all, beside a hung node %s", account, before, after)
		if after > before*11/10 {
			t.Errorf("account %d: %s became %s", account, before, after)
		}
	}
}

// TestStubbornGuestsDelayNoOtherAccount has an account stop sixteen machines that take a minute for it, again and again. A
// job of another account on the same node starts at once, whenever it comes.
func TestStubbornGuestsDelayNoOtherAccount(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := startPlant(t, 2, shared, func(ctx context.Context, run *jobs.Run) error {
			if run.AccountID == 7 {
				select {
				case <-time.After(59 * time.Second):
				case <-ctx.Done():
				}
				return ctx.Err()
			}
			return healthy(ctx, run)
		})
		p.add(7, 1, 16*20) // each ends, and the next one begins
		for i := range 200 {
			ids := p.add(8, 1, 1)
			time.Sleep(1510 * time.Millisecond)
			if took := p.took(ids); took > 400*time.Millisecond {
				t.Errorf("job %d of the other account took %s", i, took)
			}
		}
	})
}

// TestSharesHoldOverReplicas looks at the moments in which jobs begin: an account, a node, and an account on one node have at
// most their shares of the workers of both replicas.
func TestSharesHoldOverReplicas(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var most [3]int
		now := map[string]int{}
		enter := func(run *jobs.Run, n int) {
			mu.Lock()
			defer mu.Unlock()
			for i, who := range []string{
				fmt.Sprint("account ", run.AccountID), fmt.Sprint("node ", run.NodeID), fmt.Sprint(run.AccountID, " on ", run.NodeID),
			} {
				now[who] += n
				most[i] = max(most[i], now[who])
			}
		}
		cfg := shared
		cfg.Patience = time.Hour
		p := startPlant(t, 2, cfg, func(ctx context.Context, run *jobs.Run) error {
			enter(run, 1)
			defer enter(run, -1)
			return healthy(ctx, run)
		})
		var ids []int32
		for _, node := range []int32{1, 2, 3} {
			ids = append(ids, p.add(7, node, 30)...)
			ids = append(ids, p.add(8, node, 10)...)
		}
		time.Sleep(time.Minute)
		p.took(ids)
		// Of 8 workers: 6 for an account, 4 for a node, 3 for an account on one node; and two replicas.
		if most != [3]int{12, 8, 6} {
			t.Errorf("at most %v workers of an account, a node, an account on a node", most)
		}
	})
}

// TestAccountsTakeTurns has one account with many jobs before others come: each of the others gets the next free worker.
func TestAccountsTakeTurns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := startPlant(t, 1, jobs.Config{Workers: 2, Poll: time.Hour}, healthy)
		p.add(1, 1, 400)
		time.Sleep(time.Second)
		var ids []int32
		for account := range int32(5) {
			ids = append(ids, p.add(account+2, account%2, 1)...)
		}
		time.Sleep(10 * time.Second)
		if took := p.took(ids); took > time.Second {
			t.Errorf("the last of five accounts waited %s", took)
		}
	})
}

// TestNodesOfAnAccountTakeTurns has an account with a long queue on one node, and a job on another one.
func TestNodesOfAnAccountTakeTurns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := startPlant(t, 1, jobs.Config{Workers: 1, Poll: time.Hour}, healthy)
		p.add(1, 1, 400)
		time.Sleep(time.Second)
		ids := slices.Concat(p.add(1, 2, 1), p.add(1, 3, 1))
		time.Sleep(15 * time.Second)
		p.took(ids)
	})
}

// TestWaitingJobsAreBounded has many jobs hang on one node: at most so many wait without a worker, then they keep theirs.
func TestWaitingJobsAreBounded(t *testing.T) {
	t.Parallel()
	for account, want := range map[int32]int{0: 4*8/2 + 4, 7: 4*8*3/8 + 3} {
		synctest.Test(t, func(t *testing.T) {
			p := startPlant(t, 1, shared, func(ctx context.Context, run *jobs.Run) error {
				<-ctx.Done()
				return ctx.Err()
			})
			p.add(account, 1, 200)
			time.Sleep(50 * time.Second)
			if n := p.running(); n != want {
				t.Errorf("account %d: %d jobs run at once, want %d", account, n, want)
			}
		})
	}
}
