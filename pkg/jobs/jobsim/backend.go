package jobsim

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/jobs/internal/backend"
)

// memoryBackend is a backend.Backend for the runner of one process.
type memoryBackend struct {
	m         *Memory
	intercept Interceptor
}

// on runs f on the job of l, if l is its present lease and the job is in one of the states.
func (b memoryBackend) on(ctx context.Context, op string, l backend.Lease, states []backend.State,
	f func(j *job, now time.Time),
) error {
	return b.intercept(ctx, fmt.Sprint(op, " ", l.ID), func() error {
		return b.m.Do(func(t *Tx) error { return t.on(l, states, f) })
	})
}

// on runs f on the job of l, if l is its present lease and the job is in one of the states.
func (t *Tx) on(l backend.Lease, states []backend.State, f func(j *job, now time.Time)) error {
	j := t.m.byID[l.ID]
	if j == nil || j.Fence != l.Fence && !t.m.Bugs.Unguarded || !slices.Contains(states, j.State) {
		return backend.ErrLeaseLost
	}
	t.change(j)
	f(j, t.m.Now())
	return nil
}

var (
	running  = []backend.State{backend.Running}
	undoing  = []backend.State{backend.Undoing}
	notEnded = []backend.State{backend.Queued, backend.Running, backend.Undoing}
)

func (b memoryBackend) Steps(ctx context.Context, job int32) (list []backend.StepRecord, err error) {
	err = b.intercept(ctx, fmt.Sprint("steps ", job), func() error {
		return b.m.Do(func(t *Tx) error {
			if j := b.m.byID[job]; j != nil {
				list = slices.Clone(j.steps)
			}
			if b.m.Bugs.Unordered {
				slices.Reverse(list)
			}
			return nil
		})
	})
	return list, err
}

func (b memoryBackend) Advance(ctx context.Context, l backend.Lease, lease time.Duration, pending int,
	next *backend.StepRecord,
) (canceled bool, err error) {
	err = b.on(ctx, "advance", l, running, func(j *job, now time.Time) {
		j.until, canceled = b.m.until(lease), j.CancelRequested
		if pending > 0 {
			j.Lost = 0
			s := j.step(pending)
			s.State, s.FinishedAt, s.Error = backend.StepDone, &now, ""
		}
		if next == nil || canceled {
			return
		}
		if next.Seq > len(j.steps) {
			j.steps = append(j.steps, backend.StepRecord{Seq: next.Seq, Name: next.Name})
		}
		s := j.step(next.Seq)
		s.State, s.StartedAt, s.FinishedAt = backend.StepStarted, now, nil
	})
	return canceled, err
}

func (b memoryBackend) StartUndo(ctx context.Context, l backend.Lease, lease time.Duration, f *fault.Fault,
) (canceled bool, err error) {
	err = b.on(ctx, "turn", l, running, func(j *job, _ time.Time) {
		j.State, j.Failures, j.until, canceled = backend.Undoing, 0, b.m.until(lease), j.CancelRequested
		j.setFault(f)
		if canceled {
			j.setFault(backend.ErrCanceled)
		}
		for i := range j.steps {
			if j.steps[i].State == backend.StepStarted {
				j.steps[i].Error = f.Text()
			}
		}
	})
	return canceled, err
}

func (b memoryBackend) Undone(ctx context.Context, l backend.Lease, lease time.Duration, seq int) error {
	return b.on(ctx, "undone", l, undoing, func(j *job, now time.Time) {
		j.until = b.m.until(lease)
		j.step(seq).State, j.step(seq).FinishedAt = backend.StepUndone, &now
	})
}

func (b memoryBackend) GiveUp(ctx context.Context, l backend.Lease, f *fault.Fault) error {
	return b.on(ctx, "give up", l, notEnded, func(j *job, now time.Time) {
		j.setFault(f)
		j.end(backend.Failed, now)
	})
}

func (b memoryBackend) Release(ctx context.Context, l backend.Lease, current int, r backend.Release) error {
	return b.on(ctx, "release", l, notEnded, func(j *job, now time.Time) {
		j.Attempt += r.Attempts
		j.Failures += r.Failures
		j.Panics += r.Panics
		j.until, j.holder = time.Time{}, ""
		j.RunAt = now.Add(r.After)
		if j.State == backend.Running && j.CancelRequested {
			j.RunAt = now
		}
		if f := r.Fault; f != nil && f.Reason != "" {
			j.step(current).Error = f.Text()
			if j.State == backend.Running {
				j.setFault(f)
			}
		}
		if j.State == backend.Running {
			j.State = backend.Queued
		}
	})
}

func (b memoryBackend) InTx(ctx context.Context, fn func(pgx.Tx) error) error {
	return b.intercept(ctx, "end", func() error {
		return b.m.Do(func(t *Tx) error { return fn(t) })
	})
}

func (memoryBackend) Finish(_ context.Context, tx pgx.Tx, l backend.Lease, pending int) error {
	canceled := false
	err := tx.(*Tx).on(l, running, func(j *job, now time.Time) {
		if canceled = j.CancelRequested; canceled {
			return
		}
		s := j.step(pending)
		s.State, s.FinishedAt, s.Error = backend.StepDone, &now, ""
		j.setFault(&fault.Fault{})
		j.end(backend.Done, now)
	})
	if canceled {
		return backend.ErrCanceled
	}
	return err
}

func (memoryBackend) Fail(_ context.Context, tx pgx.Tx, l backend.Lease) error {
	return tx.(*Tx).on(l, undoing, func(j *job, now time.Time) {
		if j.CancelRequested {
			j.end(backend.Canceled, now)
		} else {
			j.end(backend.Failed, now)
		}
	})
}

func (b memoryBackend) Renew(ctx context.Context, ids []int32, fences []int64, lease time.Duration,
) ([]backend.LeaseState, error) {
	return b.leases(ctx, "renew", ids, fences, lease)
}

func (b memoryBackend) Canceled(ctx context.Context, ids []int32, fences []int64) ([]backend.LeaseState, error) {
	rows, err := b.leases(ctx, "canceled", ids, fences, 0)
	return slices.DeleteFunc(rows, func(r backend.LeaseState) bool { return !r.CancelRequested }), err
}

func (b memoryBackend) leases(ctx context.Context, op string, ids []int32, fences []int64, lease time.Duration,
) (rows []backend.LeaseState, err error) {
	err = b.intercept(ctx, op, func() error {
		return b.m.Do(func(t *Tx) error {
			for i, id := range ids {
				j := b.m.byID[id]
				if j == nil || j.Fence != fences[i] && !b.m.Bugs.Unguarded {
					continue
				}
				row := backend.LeaseState{ID: id, CancelRequested: j.CancelRequested, Renewed: lease != 0 && !j.State.Finished() && j.holder != ""}
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

func (b memoryBackend) TakeOver(ctx context.Context, name string) error {
	return b.intercept(ctx, "take over", func() error {
		return b.m.Do(func(t *Tx) error {
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

// Prune removes nothing: a simulation is too short.
func (memoryBackend) Prune(context.Context, time.Duration, int) (int64, error) { return 0, nil }
