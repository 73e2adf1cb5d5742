package jobsim

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"slipway.dev/pkg/jobs"
	"slipway.dev/pkg/jobs/internal/backend"
)

// Tx is a unit of work on a Memory. It is a pgx.Tx, so that handlers take it, but it runs no SQL.
type Tx struct {
	pgx.Tx
	m    *Memory
	undo []func()
}

// Do runs f as one unit of work. If f fails, its changes are undone.
func (m *Memory) Do(f func(*Tx) error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	t := &Tx{m: m}
	err := f(t)
	if err != nil {
		for _, undo := range slices.Backward(t.undo) {
			undo()
		}
	}
	return err
}

// Undo adds a function that undoes a change of another table.
func (t *Tx) Undo(f func()) { t.undo = append(t.undo, f) }

// change must be called before a change of j, so that the change can be undone.
func (t *Tx) change(j *job) {
	before := *j
	before.steps = slices.Clone(j.steps)
	over := t.m.over
	t.Undo(func() { *j, t.m.over = before, over })
}

// Enqueue does what jobs.Enqueue does.
func (t *Tx) Enqueue(n jobs.New) (jobs.Job, error) {
	m, now := t.m, t.m.Now()
	args, err := json.Marshal(n.Args)
	if err != nil {
		return jobs.Job{}, err
	}
	if n.Args == nil {
		args = []byte("{}")
	}
	if n.RunAt.IsZero() {
		n.RunAt = now
	}
	m.lastID++
	j := &job{Claimed: backend.Claimed{Job: jobs.Job{
		ID: m.lastID, UUID: uuid.NewSHA1(uuid.Nil, fmt.Append(nil, m.lastID)), Kind: n.Kind, Key: n.Key, Args: args,
		State: backend.Queued, AccountID: n.AccountID, NodeID: n.NodeID, CreatedBy: n.CreatedBy, RequestID: n.RequestID,
		RunAt: n.RunAt, CreatedAt: now,
	}}}
	m.jobs, m.byID[j.ID] = append(m.jobs, j), j
	t.Undo(func() {
		m.jobs = m.jobs[:len(m.jobs)-1]
		delete(m.byID, j.ID)
	})
	return j.Job, nil
}

// Cancel does what jobs.Cancel does.
func (t *Tx) Cancel(key string) (n int) {
	now := t.m.Now()
	for _, j := range t.m.jobs {
		if j.Key != key || j.State != backend.Queued && j.State != backend.Running || j.CancelRequested {
			continue
		}
		t.change(j)
		n++
		j.CancelRequested = true
		if j.RunAt.After(now) {
			j.RunAt = now
		}
		if j.StartedAt == nil {
			j.setFault(backend.ErrCanceled)
			j.end(backend.Canceled, now)
		}
	}
	return n
}

// Pending returns the unfinished jobs of a key in their order.
func (t *Tx) Pending(key string) (list []jobs.Job) {
	for _, j := range t.m.jobs {
		if j.Key == key && !j.State.Finished() {
			list = append(list, j.Job)
		}
	}
	return list
}

// Numbers returns the last fence and the last id that were used.
func (t *Tx) Numbers() (fence int64, id int32) { return t.m.fence, t.m.lastID }

// SetNumbers sets the last fence and the last id. As with sequences, nothing undoes that.
func (t *Tx) SetNumbers(fence int64, id int32) { t.m.fence, t.m.lastID = fence, id }
