package jobs

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// Config says how a Runner works.
type Config struct {
	Name    string        // who holds a lease, stable over restarts, such as the host name
	Workers int           // jobs at a time; default 8
	Lease   time.Duration // default 15 s
	Poll    time.Duration // how often it looks without being poked; default 1 s
	Log     *slog.Logger
	// TakeOver releases at start what a predecessor of this Name held, instead of waiting for its leases to end. Only
	// for a caller that knows that the predecessor is dead.
	TakeOver bool
	// Keep is how long a finished job is kept; default 90 days.
	Keep time.Duration
	// UnknownAfter is how long a job of an unknown kind is left for a newer program before it fails; default at once.
	UnknownAfter time.Duration
}

// Runner carries out the jobs of one schema. Several may work on the same schema.
type Runner struct {
	book  book
	cfg   Config
	kinds map[string]*work
	wake  chan struct{} // look for due jobs
	look  chan struct{} // look for canceled ones

	jitter func(*lease, time.Duration) time.Duration // below the duration
	shaky  atomic.Bool                               // leases could not be renewed: no new work until they can

	mu     sync.Mutex
	leases map[int32]*lease
}

// NewRunner makes a runner; give it handlers, then Run it.
func NewRunner(pool *pgxpool.Pool, cfg Config) *Runner { return newRunner(tables{pool}, cfg) }

func newRunner(b book, cfg Config) *Runner {
	if cfg.Workers <= 0 {
		cfg.Workers = 8
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	cfg.Lease = orDefault(cfg.Lease, 15*time.Second)
	cfg.Poll = orDefault(cfg.Poll, time.Second)
	cfg.Keep = orDefault(cfg.Keep, 90*24*time.Hour)
	return &Runner{
		book: b, cfg: cfg, kinds: map[string]*work{}, leases: map[int32]*lease{},
		jitter: func(_ *lease, below time.Duration) time.Duration { return rand.N(below) }, // #nosec G404 -- no secret: it spreads out repeats
		wake:   make(chan struct{}, 1), look: make(chan struct{}, 1),
	}
}

// Poke makes the runner look for new jobs and cancels now. Call it right after a commit; it never blocks.
func (r *Runner) Poke() {
	signal(r.wake)
	signal(r.look)
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // one is waiting already
	}
}

// Run works until ctx ends. Then it stops what it does, puts its jobs back and returns nil once all is quiet.
func (r *Runner) Run(ctx context.Context) error {
	if r.cfg.TakeOver && !r.takeOver(ctx) {
		return nil
	}
	// Leases are kept alive until the last worker has let go, which is later than ctx.
	beatCtx, stopBeat := context.WithCancel(context.WithoutCancel(ctx))
	var beat, workers sync.WaitGroup
	beat.Go(func() { r.beat(beatCtx) })
	workers.Go(func() { r.prune(ctx) })
	r.loop(ctx, &workers)
	workers.Wait()
	stopBeat()
	beat.Wait()
	return nil
}

// loop claims as many jobs as there are free workers whenever something may have changed.
func (r *Runner) loop(ctx context.Context, workers *sync.WaitGroup) {
	free := r.cfg.Workers
	finished := make(chan struct{}, r.cfg.Workers)
	tick := time.NewTicker(r.cfg.Poll)
	defer tick.Stop()
	for ctx.Err() == nil {
		wake := r.wake
		if free > 0 && !r.shaky.Load() {
			for _, l := range r.claim(ctx, free) {
				free--
				workers.Go(func() {
					r.work(l)
					finished <- struct{}{}
				})
			}
		}
		if free == 0 {
			wake = nil // keep the signal for when a worker is free
		}
		select {
		case <-ctx.Done():
		case <-wake:
		case <-tick.C:
		case <-finished:
			free++ // and its key may have a next job
		}
		free += ready(wake, tick.C, finished)
	}
}

// ready takes all signals that are there: together they are one reason to look, not several. It returns how many workers
// have finished.
func ready(wake <-chan struct{}, tick <-chan time.Time, finished <-chan struct{}) (n int) {
	for {
		select {
		case <-wake:
		case <-tick:
		case <-finished:
			n++
		default:
			return n
		}
	}
}

// takeOver ends the leases of a dead predecessor. It returns false when ctx ended first.
func (r *Runner) takeOver(ctx context.Context) bool {
	for {
		err := r.book.takeOver(ctx, r.cfg.Name)
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

func (t tables) takeOver(ctx context.Context, name string) error {
	_, err := t.pool.Exec(ctx, `
		UPDATE job SET lease_until = now() - interval '1 second'
		WHERE locked_by = $1 AND lease_until > now() AND `+unfinished, name)
	return err
}
