package jobs_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/fence"
	"slipway.dev/pkg/jobs"
	"slipway.dev/pkg/pg/pgtest"
)

func TestPermanentOrTransient(t *testing.T) {
	t.Parallel()
	secret := errors.New("dial 10.0.0.7: refused")
	for _, tt := range []struct {
		name   string
		err    error
		reason string // "" when a retry heals it
	}{
		{"plain", secret, ""},
		{"unavailable", fault.Unavailable.Wrap(secret), ""},
		{"internal", fault.Internal.Wrap(secret), ""},
		{"deadline of a call", status.Error(codes.DeadlineExceeded, "late"), ""},
		{"a call that was canceled", status.Error(codes.Canceled, "away"), ""},
		{"marked", jobs.Permanent(secret), "INTERNAL"},
		{"invalid", fmt.Errorf("x: %w", fault.Invalid), "INVALID_ARGUMENT"},
		{"not found", fault.NotFound, "NOT_FOUND"},
		{"exists", fault.Conflict, "CONFLICT"},
		{"denied", fault.Denied, "PERMISSION_DENIED"},
		{"full", fault.New(codes.ResourceExhausted, "FULL", "full"), "FULL"},
		{"precondition", fault.New(codes.FailedPrecondition, "NOT_STOPPED", "no"), "NOT_STOPPED"},
		{"unimplemented", fault.New(codes.Unimplemented, "NO_SUCH", "no"), "NO_SUCH"},
		{"out of range", fault.New(codes.OutOfRange, "RANGE", "no"), "RANGE"},
		{"of another service", fault.Status(fault.NotFound.With("no disk")).Err(), "NOT_FOUND"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var d diary
			tries := 0
			h := d.handler(d.step("a", nil), d.step("b", func(context.Context, *jobs.Run) error {
				if tries++; tries > 2 {
					return nil
				}
				return tt.err
			}))
			j := runOne(t, h)
			if j.Reason != tt.reason {
				t.Errorf("reason %q, want %q", j.Reason, tt.reason)
			}
			want, state := "+a +b +b +b done", jobs.Done
			if tt.reason != "" {
				want, state = "+a +b -b -a failed:"+tt.reason, jobs.Failed
			}
			if d.String() != want || j.State != state {
				t.Errorf("%s: %s, want %s", j.State, &d, want)
			}
			if j.Error == secret.Error() {
				t.Error("the cause is shown to the client")
			}
		})
	}
}

// TestStaleStopsAndNeverUndoes: a refusal as stale says nothing about the machine, so the job is neither given up nor undone,
// however often the refusal comes, and the runner says each time that it may be out of date.
func TestStaleStopsAndNeverUndoes(t *testing.T) {
	t.Parallel()
	for name, refusal := range map[string]error{
		"plain": fence.ErrStale.With("command 364.3 came after 364.6"), "of a call": fault.Status(fence.ErrStale).Err(),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var d diary
			tries := 0
			h := d.handler(d.step("a", nil), d.step("b", func(context.Context, *jobs.Run) error {
				if tries++; tries > 3 {
					return nil
				}
				return fmt.Errorf("disk: %w", refusal)
			}))
			h.Attempts, h.Backoff, h.MaxBackoff = 1, time.Millisecond, 2*time.Millisecond
			pool := pgtest.New(t, jobs.Migrations)
			var heard atomic.Int32
			cfg := slow
			cfg.Stale = func() { heard.Add(1) }
			r, stop := start(t, pool, cfg, h)
			j := wait(t, pool, enqueue(t, pool, r, "k").ID)
			stop()
			if j.State != jobs.Done || d.String() != "+a +b +b +b +b done" || heard.Load() != 3 {
				t.Errorf("%s: %s, heard %d times", j.State, &d, heard.Load())
			}
		})
	}
}

// runOne runs one job in a schema of its own.
func runOne(t *testing.T, h jobs.Handler[args]) jobs.Job {
	t.Helper()
	pool := pgtest.New(t, jobs.Migrations)
	r, stop := start(t, pool, slow, h)
	j := wait(t, pool, enqueue(t, pool, r, "k").ID)
	stop()
	return j
}

func TestAttemptsAreUsedUp(t *testing.T) {
	t.Parallel()
	var d diary
	h := d.handler(d.step("a", nil), d.step("b", func(context.Context, *jobs.Run) error { return errors.New("never") }))
	h.Attempts = 3
	j := runOne(t, h)
	if j.State != jobs.Failed || j.Attempt != 3 || d.String() != "+a +b +b +b -b -a failed:INTERNAL" {
		t.Errorf("%s attempt %d: %s", j.State, j.Attempt, &d)
	}
}

func TestPanicsAreQuarantined(t *testing.T) {
	t.Parallel()
	var d diary
	j := runOne(t, d.handler(d.step("a", func(context.Context, *jobs.Run) error { panic("secret") })))
	if j.State != jobs.Failed || j.Reason != "PANIC" || j.Error != "internal error" || d.String() != "+a +a +a -a failed:PANIC" {
		t.Errorf("%s %s %q: %s", j.State, j.Reason, j.Error, &d)
	}
}

func TestStepTimeIsLimited(t *testing.T) {
	t.Parallel()
	var d diary
	slow := d.step("a", func(ctx context.Context, _ *jobs.Run) error { <-ctx.Done(); return ctx.Err() })
	slow.Timeout = 20 * time.Millisecond
	h := d.handler(slow)
	h.Attempts = 2
	if j := runOne(t, h); j.Reason != "STEP_TIMEOUT" || d.String() != "+a +a -a failed:STEP_TIMEOUT" {
		t.Errorf("%s: %s", j.Reason, &d)
	}
}

// TestJobTimeIsLimited: a job that runs longer than its kind may is taken back, whether a step hangs or fails again and again,
// and another kind is not touched.
func TestJobTimeIsLimited(t *testing.T) {
	t.Parallel()
	hang := func(ctx context.Context, _ *jobs.Run) error { <-ctx.Done(); return ctx.Err() }
	again := func(context.Context, *jobs.Run) error { return fault.Unavailable }
	for _, tt := range []struct {
		name, kind string
		do         func(context.Context, *jobs.Run) error
		want       string
	}{
		{"hangs", "work", hang, "failed:TASK_TIMEOUT"}, {"repeats", "work", again, "failed:TASK_TIMEOUT"}, {"another kind", "other", nil, "done"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			pool := pgtest.New(t, jobs.Migrations)
			var d diary
			h := d.handler(d.step("a", nil), d.step("b", tt.do))
			limit := func(kind string) time.Duration {
				if kind != "work" || tt.kind != "work" {
					return 0
				}
				return 200 * time.Millisecond
			}
			r, stop := start(t, pool, jobs.Config{Name: "a", Poll: 5 * time.Millisecond, Limit: limit}, h)
			j := wait(t, pool, enqueue(t, pool, r, "k").ID)
			stop()
			if said := d.String(); !strings.HasSuffix(said, tt.want) || strings.Contains(said, "-a") != (tt.do != nil) {
				t.Errorf("%s %s: %s", j.State, j.Reason, said)
			}
		})
	}
}

// An undo is repeated until it succeeds, whatever its error; steps without an undo keep their state.
func TestUndoIsRetriedForEver(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t, jobs.Migrations)
	var d diary
	stubborn, tries := d.step("b", nil), 0
	stubborn.Undo = func(context.Context, *jobs.Run, args) error {
		d.add("-b")
		switch tries++; tries {
		case 1, 2, 3:
			return jobs.Permanent(errors.New("not now"))
		case 4:
			panic("not at all")
		}
		return nil
	}
	plain := d.step("c", nil)
	plain.Undo = nil
	h := d.handler(d.step("a", nil), stubborn, plain, d.step("d", func(context.Context, *jobs.Run) error { return fault.NotFound }))
	h.Attempts = 1
	r, stop := start(t, pool, slow, h)
	j := wait(t, pool, enqueue(t, pool, r, "k").ID)
	stop()
	if want := "+a +b +c +d -d -b -b -b -b -b -a failed:NOT_FOUND"; d.String() != want {
		t.Errorf("diary %s, want %s", &d, want)
	}
	if s := steps(t, pool, j.ID); s != "a:undone b:undone c:done d:undone" {
		t.Errorf("steps %s", s)
	}
	if j.State != jobs.Failed || j.Reason != "NOT_FOUND" {
		t.Errorf("job %+v", j)
	}
}

func TestDoneMayRefuse(t *testing.T) {
	t.Parallel()
	var d diary
	h := d.handler(d.step("a", nil))
	h.Done = func(context.Context, pgx.Tx, *jobs.Run, args) error { return fault.Conflict }
	if j := runOne(t, h); j.State != jobs.Failed || d.String() != "+a -a failed:CONFLICT" {
		t.Errorf("%s %s", j.State, &d)
	}
	if j := runOne(t, jobs.Handler[args]{}); j.State != jobs.Done {
		t.Errorf("nothing to do: %s", j.State)
	}
}

// A job that kills its worker repeatedly fails in the end.
func TestWorkerKillerIsStopped(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t, jobs.Migrations)
	var d diary
	j := enqueue(t, pool, nil, "k")
	_, err := pool.Exec(t.Context(), `
		UPDATE job SET state = 'running', lost = 9, locked_by = 'dead', started_at = now(), lease_until = now() - interval '1 s'`)
	if err != nil {
		t.Fatal(err)
	}
	start(t, pool, slow, d.handler(d.step("a", nil)))
	if got := wait(t, pool, j.ID); got.Reason != "WORKER_DIED" || d.String() != "failed:WORKER_DIED" {
		t.Errorf("%s %s", got.Reason, &d)
	}
}
