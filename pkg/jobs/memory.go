package jobs

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"slipway.dev/pkg/fault"
)

// Memory is the tables job and job_step in memory, for simulations: a Runner that works on it is the real one. Units of
// work happen one after the other, each in a moment. TestBooksAgree holds it to what the tables do.
type Memory struct {
	Now   func() time.Time // the clock of what would be the database
	Plant Plant

	mu     sync.Mutex
	jobs   []*memoryJob
	byID   map[int32]*memoryJob
	over   int // so many of the first jobs are finished
	lastID int32
	fence  int64
}

// Plant is a mistake that a simulation must notice.
type Plant struct {
	Unguarded bool          // who lost a lease writes all the same
	Unordered bool          // steps are told in the wrong order, and so taken back in the wrong one
	Lease     time.Duration // the longest that is given, whatever the runner believes; 0 is no bound
}

// until is the end of a lease that begins now.
func (m *Memory) until(lease time.Duration) time.Time {
	if most := m.Plant.Lease; most > 0 {
		lease = min(lease, most)
	}
	return m.Now().Add(lease)
}

type memoryJob struct {
	claimed
	until  time.Time // of the lease; zero for none
	holder string
	steps  []StepRecord
}

// NewMemory makes an empty one.
func NewMemory(now func() time.Time) *Memory {
	return &Memory{Now: now, byID: map[int32]*memoryJob{}, lastID: 100000}
}

// Door stands between a process and a Memory: it may let time pass before and after do, refuse, or lose the answer. What
// two workers may do in the same moment has different names.
type Door func(ctx context.Context, op string, do func() error) error

// NewMemoryRunner makes a runner that works on m through a door. Its waits are by chance, but follow from the job alone.
func NewMemoryRunner(m *Memory, door Door, cfg Config) *Runner {
	r := newRunner(inMemory{m, door}, cfg)
	r.jitter = func(l *lease, below time.Duration) time.Duration {
		h := fnv.New64a()
		fmt.Fprint(h, l.run.ID, l.run.fence)
		return time.Duration(h.Sum64() % uint64(below)) // #nosec G115 -- below is above zero, and the rest below it
	}
	return r
}

// MemoryTx is a unit of work on a Memory. It is a pgx.Tx only so that handlers get it as they get one: it knows no SQL.
type MemoryTx struct {
	pgx.Tx
	m    *Memory
	undo []func()
}

// Do runs f as one unit of work: what it did is taken back when it fails.
func (m *Memory) Do(f func(*MemoryTx) error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	t := &MemoryTx{m: m}
	err := f(t)
	if err != nil {
		for _, undo := range slices.Backward(t.undo) {
			undo()
		}
	}
	return err
}

// Undo adds what takes a change of another table back.
func (t *MemoryTx) Undo(f func()) { t.undo = append(t.undo, f) }

// change says that j is about to be changed.
func (t *MemoryTx) change(j *memoryJob) {
	was := *j
	was.steps = slices.Clone(j.steps)
	over := t.m.over
	t.Undo(func() { *j, t.m.over = was, over })
}

// Enqueue is what the func Enqueue does.
func (t *MemoryTx) Enqueue(n New) (Job, error) {
	m, now := t.m, t.m.Now()
	args, err := json.Marshal(n.Args)
	if err != nil {
		return Job{}, err
	}
	if n.Args == nil {
		args = []byte("{}")
	}
	if n.RunAt.IsZero() {
		n.RunAt = now
	}
	m.lastID++
	j := &memoryJob{claimed: claimed{Job: Job{
		ID: m.lastID, UUID: uuid.NewSHA1(uuid.Nil, fmt.Append(nil, m.lastID)), Kind: n.Kind, Key: n.Key, Args: args, State: Queued, AccountID: n.AccountID, CreatedBy: n.CreatedBy,
		RequestID: n.RequestID, RunAt: n.RunAt, CreatedAt: now,
	}}}
	m.jobs, m.byID[j.ID] = append(m.jobs, j), j
	t.Undo(func() {
		m.jobs = m.jobs[:len(m.jobs)-1]
		delete(m.byID, j.ID)
	})
	return j.Job, nil
}

// Cancel is what the func Cancel does.
func (t *MemoryTx) Cancel(key string) (n int) {
	now := t.m.Now()
	for _, j := range t.m.jobs {
		if j.Key != key || j.State != Queued && j.State != Running || j.CancelRequested {
			continue
		}
		t.change(j)
		n++
		j.CancelRequested = true
		if j.RunAt.After(now) {
			j.RunAt = now
		}
		if j.StartedAt == nil {
			j.say(ErrCanceled)
			j.end(Canceled, now)
		}
	}
	return n
}

// Pending is what the func Pending does.
func (t *MemoryTx) Pending(key string) (list []Job) {
	for _, j := range t.m.jobs {
		if j.Key == key && !j.State.Finished() {
			list = append(list, j.Job)
		}
	}
	return list
}

// Numbers are the last fence and the last id that were given.
func (t *MemoryTx) Numbers() (fence int64, id int32) { return t.m.fence, t.m.lastID }

// SetNumbers moves them on. As with sequences, nothing takes that back.
func (t *MemoryTx) SetNumbers(fence int64, id int32) { t.m.fence, t.m.lastID = fence, id }

// Jobs returns all jobs.
func (m *Memory) Jobs() []Job {
	m.mu.Lock()
	defer m.mu.Unlock()
	list := make([]Job, len(m.jobs))
	for i, j := range m.jobs {
		list[i] = j.Job
	}
	return list
}

func (j *memoryJob) say(f *fault.Fault) { j.Code, j.Reason, j.Error = int(f.Code), f.Reason, f.Text() }

func (j *memoryJob) end(s State, at time.Time) {
	j.State, j.FinishedAt, j.until, j.holder = s, &at, time.Time{}, ""
}

func (j *memoryJob) step(seq int) *StepRecord {
	if seq < 1 || seq > len(j.steps) {
		return &StepRecord{}
	}
	return &j.steps[seq-1]
}

// inMemory is the book of one process.
type inMemory struct {
	m    *Memory
	door Door
}

// on changes a job if h holds it and it is in one of the states.
func (b inMemory) on(ctx context.Context, op string, h held, states []State, f func(j *memoryJob, now time.Time)) error {
	return b.door(ctx, fmt.Sprint(op, " ", h.id), func() error {
		return b.m.Do(func(t *MemoryTx) error { return t.on(h, states, f) })
	})
}

func (t *MemoryTx) on(h held, states []State, f func(j *memoryJob, now time.Time)) error {
	j := t.m.byID[h.id]
	if j == nil || j.Fence != h.fence && !t.m.Plant.Unguarded || !slices.Contains(states, j.State) {
		return ErrLeaseLost
	}
	t.change(j)
	f(j, t.m.Now())
	return nil
}

var (
	running  = []State{Running}
	undoing  = []State{Undoing}
	notEnded = []State{Queued, Running, Undoing}
)

func (b inMemory) claim(ctx context.Context, limit int, name string, lease time.Duration, kinds []string, unknownAfter time.Duration) (got []claimed, err error) {
	err = b.door(ctx, "claim", func() error {
		return b.m.Do(func(t *MemoryTx) error {
			now, earlier := b.m.Now(), map[string]bool{}
			var due []*memoryJob
			for b.m.over < len(b.m.jobs) && b.m.jobs[b.m.over].State.Finished() {
				b.m.over++
			}
			for _, j := range b.m.jobs[b.m.over:] {
				if j.State.Finished() {
					continue
				}
				if !earlier[j.Key] && !j.RunAt.After(now) && j.until.Before(now) &&
					(slices.Contains(kinds, j.Kind) || !j.RunAt.After(now.Add(-unknownAfter))) {
					due = append(due, j)
				}
				earlier[j.Key] = true
			}
			slices.SortStableFunc(due, func(x, y *memoryJob) int { return cmp.Or(x.RunAt.Compare(y.RunAt), int(x.ID-y.ID)) })
			for _, j := range due[:min(limit, len(due))] {
				t.change(j)
				if j.Fresh = j.StartedAt == nil; j.Fresh {
					j.StartedAt = &now
				}
				if j.State == Queued {
					j.State = Running
				}
				if j.holder != "" {
					j.Lost++
				}
				b.m.fence++
				j.Attempt++
				j.Fence, j.holder, j.until = b.m.fence, name, b.m.until(lease)
				got = append(got, j.claimed)
			}
			return nil
		})
	})
	return got, err
}

func (b inMemory) steps(ctx context.Context, job int32) (list []StepRecord, err error) {
	err = b.door(ctx, fmt.Sprint("steps ", job), func() error {
		return b.m.Do(func(t *MemoryTx) error {
			if j := b.m.byID[job]; j != nil {
				list = slices.Clone(j.steps)
			}
			if b.m.Plant.Unordered {
				slices.Reverse(list)
			}
			return nil
		})
	})
	return list, err
}

func (b inMemory) advance(ctx context.Context, h held, lease time.Duration, pending int, next *StepRecord) (canceled bool, err error) {
	err = b.on(ctx, "advance", h, running, func(j *memoryJob, now time.Time) {
		j.until, canceled = b.m.until(lease), j.CancelRequested
		if pending > 0 {
			j.Lost = 0
			s := j.step(pending)
			s.State, s.FinishedAt, s.Error = StepDone, &now, ""
		}
		if next == nil || canceled {
			return
		}
		if next.Seq > len(j.steps) {
			j.steps = append(j.steps, StepRecord{Seq: next.Seq, Name: next.Name})
		}
		s := j.step(next.Seq)
		s.State, s.StartedAt, s.FinishedAt = StepStarted, now, nil
	})
	return canceled, err
}

func (b inMemory) turn(ctx context.Context, h held, lease time.Duration, f *fault.Fault) (canceled bool, err error) {
	err = b.on(ctx, "turn", h, running, func(j *memoryJob, _ time.Time) {
		j.State, j.Failures, j.until, canceled = Undoing, 0, b.m.until(lease), j.CancelRequested
		j.say(f)
		if canceled {
			j.say(ErrCanceled)
		}
		for i := range j.steps {
			if j.steps[i].State == StepStarted {
				j.steps[i].Error = f.Text()
			}
		}
	})
	return canceled, err
}

func (b inMemory) undone(ctx context.Context, h held, lease time.Duration, seq int) error {
	return b.on(ctx, "undone", h, undoing, func(j *memoryJob, now time.Time) {
		j.until = b.m.until(lease)
		j.step(seq).State, j.step(seq).FinishedAt = StepUndone, &now
	})
}

func (b inMemory) giveUp(ctx context.Context, h held, f *fault.Fault) error {
	return b.on(ctx, "give up", h, notEnded, func(j *memoryJob, now time.Time) {
		j.say(f)
		j.end(Failed, now)
	})
}

func (b inMemory) release(ctx context.Context, h held, current int, a again) error {
	return b.on(ctx, "release", h, notEnded, func(j *memoryJob, now time.Time) {
		j.Attempt -= count(a.uncount)
		j.Failures += count(a.failure)
		j.Panics += count(a.panicked)
		j.until, j.holder = time.Time{}, ""
		j.RunAt = now.Add(a.after)
		if j.State == Running && j.CancelRequested {
			j.RunAt = now
		}
		if f := a.fault(); f.Reason != "" {
			j.step(current).Error = f.Text()
			if j.State == Running {
				j.say(f)
			}
		}
		if j.State == Running {
			j.State = Queued
		}
	})
}

func (b inMemory) inTx(ctx context.Context, fn func(pgx.Tx) error) error {
	return b.door(ctx, "end", func() error {
		return b.m.Do(func(t *MemoryTx) error { return fn(t) })
	})
}

func (inMemory) finish(_ context.Context, tx pgx.Tx, h held, pending int) error {
	canceled := false
	err := tx.(*MemoryTx).on(h, running, func(j *memoryJob, now time.Time) {
		if canceled = j.CancelRequested; canceled {
			return
		}
		s := j.step(pending)
		s.State, s.FinishedAt, s.Error = StepDone, &now, ""
		j.say(&fault.Fault{})
		j.end(Done, now)
	})
	if canceled {
		return ErrCanceled
	}
	return err
}

func (inMemory) fail(_ context.Context, tx pgx.Tx, h held) error {
	return tx.(*MemoryTx).on(h, undoing, func(j *memoryJob, now time.Time) {
		if j.CancelRequested {
			j.end(Canceled, now)
		} else {
			j.end(Failed, now)
		}
	})
}

func (b inMemory) renew(ctx context.Context, ids []int32, fences []int64, lease time.Duration) ([]beatRow, error) {
	return b.beats(ctx, "renew", ids, fences, lease)
}

func (b inMemory) canceled(ctx context.Context, ids []int32, fences []int64) ([]beatRow, error) {
	rows, err := b.beats(ctx, "canceled", ids, fences, 0)
	return slices.DeleteFunc(rows, func(r beatRow) bool { return !r.CancelRequested }), err
}

func (b inMemory) beats(ctx context.Context, op string, ids []int32, fences []int64, lease time.Duration) (rows []beatRow, err error) {
	err = b.door(ctx, op, func() error {
		return b.m.Do(func(t *MemoryTx) error {
			for i, id := range ids {
				j := b.m.byID[id]
				if j == nil || j.Fence != fences[i] && !b.m.Plant.Unguarded {
					continue
				}
				row := beatRow{ID: id, CancelRequested: j.CancelRequested, Renewed: lease != 0 && !j.State.Finished()}
				if row.Renewed {
					t.change(j)
					j.until = b.m.until(lease)
				}
				rows = append(rows, row)
			}
			return nil
		})
	})
	return rows, err
}

func (b inMemory) takeOver(ctx context.Context, name string) error {
	return b.door(ctx, "take over", func() error {
		return b.m.Do(func(t *MemoryTx) error {
			now := b.m.Now()
			for _, j := range b.m.jobs {
				if j.holder == name && j.until.After(now) {
					t.change(j)
					j.until = now.Add(-time.Second)
				}
			}
			return nil
		})
	})
}

// prune keeps everything: a simulation is not that long.
func (inMemory) prune(context.Context, time.Duration) (int64, error) { return 0, nil }
