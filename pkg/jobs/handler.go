package jobs

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"slipway.dev/pkg/fault"
)

// Handler carries out one kind of job with arguments of type A.
type Handler[A any] struct {
	Steps []Step[A]
	// Done runs in the transaction that marks the job done. If Done fails the job is not done.
	Done func(ctx context.Context, tx pgx.Tx, run *Run, a A) error
	// Failed runs in the transaction that marks the job failed or canceled, after all undos. Failed is retried until it
	// succeeds.
	Failed func(ctx context.Context, tx pgx.Tx, run *Run, a A, cause *fault.Fault) error
	// Attempts is the number of transient errors after which the job is undone; 0 is no limit.
	Attempts int
	// Backoff and MaxBackoff bound the wait between attempts: full jitter, doubling. Defaults: 500 ms and 30 s.
	Backoff, MaxBackoff time.Duration
}

// Step is a part of a job that is recorded. Do and Undo may run several times, after earlier runs that did everything,
// half or nothing: they must ensure a state, not toggle it.
type Step[A any] struct {
	Name    string
	Do      func(ctx context.Context, run *Run, a A) error
	Undo    func(ctx context.Context, run *Run, a A) error // nil: nothing to undo
	Timeout time.Duration                                  // of one Do or Undo; default 2 min
	// Apart says that the step does not work on the job's node: its time-outs do not count against the node.
	Apart bool
}

// Run is one attempt at a job.
type Run struct {
	Job
	// Memo is for the handler's own use: values that the steps of this attempt share. A later attempt starts with nil.
	Memo any

	fence int64
	step  int32
	begun func(step string) bool
}

// Began reports whether a step was begun, by this attempt or an earlier one. It stays true after the step is undone.
func (r *Run) Began(step string) bool { return r.begun(step) }

// Fence returns the number of this lease, which rises with every lease of any job of the service. The receiver of a command
// keeps the highest number and refuses lower ones, so that a worker that lost its lease can do no harm.
func (r *Run) Fence() int64 { return r.fence }

// Step returns how many steps and undos this attempt has begun. Fence and Step together order all commands of a job: a
// command that is delivered twice must not undo a later one.
func (r *Run) Step() int32 { return r.step }

// Handle registers the handler of a kind, before Run. It panics if the handler is malformed.
func Handle[A any](r *Runner, kind string, h Handler[A]) {
	if r.kinds[kind] != nil {
		panic("jobs: two handlers of kind " + kind)
	}
	r.kinds[kind] = erase(kind, h)
	r.kinds[kind].declare()
}

// work is a Handler without its type parameter.
type work struct {
	kind       string
	steps      []stage
	decode     func(json.RawMessage) (any, error)
	done       func(context.Context, pgx.Tx, *Run, any) error
	failed     func(context.Context, pgx.Tx, *Run, any, *fault.Fault) error
	attempts   int
	backoff    time.Duration
	maxBackoff time.Duration
	hasFailed  bool // the handler has a Failed
}

type stage struct {
	name     string
	do, undo func(context.Context, *Run, any) error
	timeout  time.Duration
	apart    bool
}

func erase[A any](kind string, h Handler[A]) *work {
	w := &work{
		kind: kind, decode: decode[A], attempts: h.Attempts, hasFailed: h.Failed != nil,
		backoff: orDefault(h.Backoff, 500*time.Millisecond), maxBackoff: orDefault(h.MaxBackoff, 30*time.Second),
	}
	seen := map[string]bool{}
	for _, s := range h.Steps {
		if s.Name == "" || s.Do == nil || seen[s.Name] {
			panic(fmt.Sprintf("jobs: step %q of %s needs a name of its own and a Do", s.Name, kind))
		}
		seen[s.Name] = true
		w.steps = append(w.steps, stage{s.Name, untyped(s.Do), untyped(s.Undo), orDefault(s.Timeout, 2*time.Minute), s.Apart})
	}
	w.done = func(ctx context.Context, tx pgx.Tx, run *Run, a any) error {
		if h.Done == nil {
			return nil
		}
		return h.Done(ctx, tx, run, a.(A))
	}
	w.failed = func(ctx context.Context, tx pgx.Tx, run *Run, a any, cause *fault.Fault) error {
		if h.Failed == nil {
			return nil
		}
		return h.Failed(ctx, tx, run, a.(A), cause)
	}
	return w
}

func untyped[A any](f func(context.Context, *Run, A) error) func(context.Context, *Run, any) error {
	if f == nil {
		return nil
	}
	return func(ctx context.Context, run *Run, a any) error { return f(ctx, run, a.(A)) }
}

// checker is implemented by arguments that can be invalid. Invalid arguments would fail in every step and every undo.
type checker interface{ Check() error }

// decode returns the arguments as an A. It refuses null, which would pass as an A full of zeros. Unknown fields come from a
// newer program and are ignored.
func decode[A any](raw json.RawMessage) (any, error) {
	var a A
	if bytes.Equal(bytes.TrimSpace(raw), []byte("null")) {
		return nil, errors.New("args are null")
	}
	if err := json.Unmarshal(raw, &a); err != nil {
		return nil, err
	}
	if c, ok := any(a).(checker); ok {
		return a, c.Check()
	}
	return a, nil
}

// step returns the step of a name, or an empty one, which has nothing to do or to undo, for a step of another version.
func (w *work) step(name string) stage {
	for _, s := range w.steps {
		if s.name == name {
			return s
		}
	}
	return stage{}
}

func orDefault(d, def time.Duration) time.Duration {
	if d > 0 {
		return d
	}
	return def
}
