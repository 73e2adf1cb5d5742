// Package jobsim is the queue of package jobs in memory, for simulations: the runners that work on it are the real ones.
package jobsim

import (
	"context"
	"fmt"
	"hash/fnv"
	"sync"
	"time"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/jobs"
	"slipway.dev/pkg/jobs/internal/backend"
)

// Memory is the tables job and job_step in memory. Units of work run one after the other, and each takes no time.
// TestBackendsAgree compares Memory with the tables.
type Memory struct {
	Now  func() time.Time // the clock of the simulated database
	Bugs Bugs

	mu     sync.Mutex
	jobs   []*job
	byID   map[int32]*job
	over   int // the number of jobs, from the first, that are finished
	lastID int32
	fence  int64
}

// Bugs are planted mistakes, which a simulation must find.
type Bugs struct {
	Unguarded bool          // a runner that lost its lease can still write
	Unordered bool          // steps are returned, and so undone, in the wrong order
	Lease     time.Duration // the longest lease, whatever the runner asks for; 0 is no bound
}

// until returns the end of a lease that begins now.
func (m *Memory) until(lease time.Duration) time.Time {
	if most := m.Bugs.Lease; most > 0 {
		lease = min(lease, most)
	}
	return m.Now().Add(lease)
}

type job struct {
	backend.Claimed
	until  time.Time // of the lease; zero for none
	holder string
	steps  []backend.StepRecord
}

// New makes an empty queue.
func New(now func() time.Time) *Memory {
	return &Memory{Now: now, byID: map[int32]*job{}, lastID: 100000}
}

// An Interceptor wraps each call of a runner to a Memory: it may wait before and after do, refuse, or lose the answer.
// Calls that two workers may make at the same time have different names.
type Interceptor func(ctx context.Context, name string, do func() error) error

// NewRunner makes a runner on m. Its waits look random, but follow from the job alone.
func NewRunner(m *Memory, i Interceptor, cfg jobs.Config) *jobs.Runner {
	return jobs.NewRunnerOn(memoryBackend{m, i}, jitter, cfg)
}

func jitter(l backend.Lease, below time.Duration) time.Duration {
	h := fnv.New64a()
	fmt.Fprint(h, l.ID, l.Fence)
	return time.Duration(h.Sum64() % uint64(below)) // #nosec G115 -- below is above zero, and the rest below it
}

// Jobs returns all jobs.
func (m *Memory) Jobs() []jobs.Job {
	m.mu.Lock()
	defer m.mu.Unlock()
	list := make([]jobs.Job, len(m.jobs))
	for i, j := range m.jobs {
		list[i] = j.Job
	}
	return list
}

// setFault stores f as the error of the job.
func (j *job) setFault(f *fault.Fault) { j.Code, j.Reason, j.Error = int(f.Code), f.Reason, f.Text() }

// end makes s, which is final, the state of the job.
func (j *job) end(s jobs.State, at time.Time) {
	j.State, j.FinishedAt, j.until, j.holder = s, &at, time.Time{}, ""
}

// step returns the record of a step, or an empty record that nothing reads.
func (j *job) step(seq int) *backend.StepRecord {
	if seq < 1 || seq > len(j.steps) {
		return &backend.StepRecord{}
	}
	return &j.steps[seq-1]
}
