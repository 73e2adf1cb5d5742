package jobs

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"slipway.dev/pkg/jobs/internal/backend"
	"slipway.dev/pkg/jobs/internal/tables"
)

// gather is how long the runner waits for further reasons to look for jobs, so that workers that end together, as with leases
// that expire together, cause one look and not one each.
const gather = 20 * time.Microsecond

// Config says how a Runner works.
type Config struct {
	Name    string        // of the holder of leases, stable over restarts, such as the host name
	Workers int           // jobs at a time; default 8
	Lease   time.Duration // default 15 s
	Poll    time.Duration // how often the runner looks for jobs without being poked; default 1 s
	Log     *slog.Logger
	// TakeOver releases at start the jobs that a predecessor of this Name held, instead of waiting for its leases to end.
	// Set it only if the predecessor is known to be dead.
	TakeOver bool
	// Keep is how long a finished job is kept; default 90 days.
	Keep time.Duration
	// UnknownAfter is how long a job of an unknown kind is left for a newer program before it fails; default at once.
	UnknownAfter time.Duration
	// NodeShare and AccountShare are the parts of the workers that jobs of one node and of one account may have at a time,
	// such as 0.5; of a node's part an account has AccountShare. 0 is no bound.
	NodeShare, AccountShare float64
	// Patience is how long a job keeps its worker. Then it goes on without one, so that a job that waits for its node
	// delays no other; default 1 s.
	Patience time.Duration
	// Limit returns how long a job of a kind may run since its start, over all attempts; 0 is no limit. A job that exceeds it
	// fails with TASK_TIMEOUT, and is taken back as after any other failure. Limit is asked when an attempt begins.
	Limit func(kind string) time.Duration
	// Stale is called when a step was refused with fence.ErrStale: the database of this runner may be one that a failover
	// left behind. The job is put back, is not undone, and the refusal does not count as a failure.
	Stale func()
}

// Runner carries out the jobs of one schema. Several may work on the same schema.
type Runner struct {
	backend backend.Backend
	cfg     Config
	kinds   map[string]*work
	wake    chan struct{} // asks for a look for due jobs
	cancels chan struct{} // asks for a look for canceled jobs

	// jitter returns a duration below the one given, to spread out retries.
	jitter func(l backend.Lease, below time.Duration) time.Duration
	unsure atomic.Bool // leases could not be renewed: no new work until they can

	breakers  breakers
	claims    int64     // so far
	explained time.Time // when jobs of shut nodes were last given the reason

	freed  chan struct{} // a worker has no job any more, or a key has its next job
	mu     sync.Mutex
	leases map[int32]*lease
	crew   crew
}

// NewRunner makes a runner of the jobs in the schema of pool. Give it handlers, then Run it.
func NewRunner(pool *pgxpool.Pool, cfg Config) *Runner {
	return NewRunnerOn(tables.New(pool), randomJitter, cfg)
}

func randomJitter(_ backend.Lease, below time.Duration) time.Duration {
	return rand.N(below) // #nosec G404 -- no secret
}

// NewRunnerOn makes a runner on another backend. Only jobsim can call it.
func NewRunnerOn(b backend.Backend, jitter func(l backend.Lease, below time.Duration) time.Duration, cfg Config) *Runner {
	if cfg.Workers <= 0 {
		cfg.Workers = 8
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Limit == nil {
		cfg.Limit = func(string) time.Duration { return 0 }
	}
	if cfg.Stale == nil {
		cfg.Stale = func() {}
	}
	cfg.Lease = orDefault(cfg.Lease, 15*time.Second)
	cfg.Poll = orDefault(cfg.Poll, time.Second)
	cfg.Keep = orDefault(cfg.Keep, 90*24*time.Hour)
	cfg.Patience = orDefault(cfg.Patience, time.Second)
	return &Runner{
		backend: b, cfg: cfg, kinds: map[string]*work{}, leases: map[int32]*lease{}, jitter: jitter,
		wake: make(chan struct{}, 1), cancels: make(chan struct{}, 1), freed: make(chan struct{}, 1),
		crew: newCrew(cfg), breakers: breakers{log: cfg.Log, nodes: map[int32]*breaker{}},
	}
}

// Poke makes the runner look for new jobs and cancels now. Call Poke right after a commit; the call never blocks.
func (r *Runner) Poke() {
	signal(r.wake)
	signal(r.cancels)
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // one is waiting already
	}
}

// Run works until ctx ends. Then it stops its jobs, puts them back and returns nil once all workers have ended.
func (r *Runner) Run(ctx context.Context) error {
	if r.cfg.TakeOver && !r.takeOver(ctx) {
		return nil
	}
	// Leases are renewed until the last worker has ended, which is later than ctx.
	heartbeatCtx, stopHeartbeat := context.WithCancel(context.WithoutCancel(ctx))
	var heartbeat, workers sync.WaitGroup
	heartbeat.Go(func() { r.heartbeat(heartbeatCtx) })
	workers.Go(func() { r.prune(ctx) })
	r.loop(ctx, &workers)
	workers.Wait()
	stopHeartbeat()
	heartbeat.Wait()
	return nil
}

// loop claims as many jobs as there are free workers whenever something may have changed.
func (r *Runner) loop(ctx context.Context, workers *sync.WaitGroup) {
	tick := time.NewTicker(r.cfg.Poll)
	defer tick.Stop()
	for ctx.Err() == nil {
		if free := r.free(); free > 0 && !r.unsure.Load() {
			for _, l := range r.claim(ctx, free) {
				workers.Go(func() { r.work(l) })
			}
		}
		wake := r.wake
		if r.free() == 0 {
			wake = nil // keep the signal for when a worker is free
		}
		select {
		case <-ctx.Done():
		case <-wake:
		case <-tick.C:
		case <-r.freed:
		}
		select {
		case <-ctx.Done():
		case <-time.After(gather):
		}
		drain(wake, tick.C, r.freed)
	}
}

// free returns how many workers have no job.
func (r *Runner) free() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.crew.free()
}

// drain receives all signals that are waiting: they are one reason to look for jobs, not several.
func drain(wake <-chan struct{}, tick <-chan time.Time, freed <-chan struct{}) {
	for {
		select {
		case <-wake:
		case <-tick:
		case <-freed:
		default:
			return
		}
	}
}

// takeOver ends the leases of a dead predecessor. It returns false when ctx ended first.
func (r *Runner) takeOver(ctx context.Context) bool {
	for {
		err := r.backend.TakeOver(ctx, r.cfg.Name)
		if err == nil {
			return true
		}
		if ctx.Err() == nil {
			r.cfg.Log.Warn("jobs: take over", "err", err)
		}
		select {
		case <-ctx.Done():
			return false
		case <-time.After(r.cfg.Poll):
		}
	}
}
