package jobs_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"go.uber.org/goleak"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/jobs"
	"slipway.dev/pkg/pg"
	"slipway.dev/pkg/pg/pgtest"
)

func TestMain(m *testing.M) {
	if schema := os.Getenv(childSchema); schema != "" {
		child(os.Getenv(childURL), schema)
		return
	}
	pgtest.Main(m)
}

type args struct {
	Name string `json:"name"`
}

// diary records the actions of a job, in order.
type diary struct {
	mu    sync.Mutex
	lines []string
}

func (d *diary) add(format string, a ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lines = append(d.lines, fmt.Sprintf(format, a...))
}

func (d *diary) String() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return strings.Join(d.lines, " ")
}

// step returns a step that writes to the diary and calls do, if not nil.
func (d *diary) step(name string, do func(context.Context, *jobs.Run) error) jobs.Step[args] {
	return jobs.Step[args]{
		Name: name,
		Do: func(ctx context.Context, run *jobs.Run, _ args) error {
			d.add("+%s", name)
			if do == nil {
				return nil
			}
			return do(ctx, run)
		},
		Undo: func(context.Context, *jobs.Run, args) error {
			d.add("-%s", name)
			return nil
		},
	}
}

// handler returns a handler with these steps, which writes its end to the diary.
func (d *diary) handler(steps ...jobs.Step[args]) jobs.Handler[args] {
	return jobs.Handler[args]{
		Steps:   steps,
		Backoff: time.Millisecond, MaxBackoff: 5 * time.Millisecond,
		Done: func(context.Context, pgx.Tx, *jobs.Run, args) error {
			d.add("done")
			return nil
		},
		Failed: func(_ context.Context, _ pgx.Tx, _ *jobs.Run, _ args, cause *fault.Fault) error {
			d.add("failed:%s", cause.Reason)
			return nil
		},
	}
}

// slow makes a runner that looks for jobs only when poked, so that a test shows what wakes the runner.
var slow = jobs.Config{Name: "test", Poll: time.Hour}

// start runs a runner with one handler until the end of the test; the func ends it earlier.
func start(t testing.TB, pool *pgxpool.Pool, cfg jobs.Config, h jobs.Handler[args]) (*jobs.Runner, func()) {
	t.Helper()
	r := jobs.NewRunner(pool, cfg)
	jobs.Handle(r, "work", h)
	return r, run(t, r)
}

func run(t testing.TB, r *jobs.Runner) func() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := r.Run(ctx); err != nil {
			t.Error(err)
		}
	}()
	stop := func() {
		cancel()
		<-done
	}
	t.Cleanup(stop)
	return stop
}

func enqueue(t testing.TB, pool *pgxpool.Pool, r *jobs.Runner, key string) jobs.Job {
	t.Helper()
	var j jobs.Job
	err := pg.InTx(t.Context(), pool, func(tx pgx.Tx) (err error) {
		j, err = jobs.Enqueue(t.Context(), tx, jobs.New{Kind: "work", Key: key, Args: args{Name: key}})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if r != nil {
		r.Poke()
	}
	return j
}

func cancelKey(t testing.TB, pool *pgxpool.Pool, key string) (n int) {
	t.Helper()
	err := pg.InTx(t.Context(), pool, func(tx pgx.Tx) (err error) {
		n, err = jobs.Cancel(t.Context(), tx, key)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func wait(t testing.TB, pool *pgxpool.Pool, id int32) jobs.Job {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), 2*time.Minute)
	defer stop()
	j, err := jobs.Wait(ctx, pool, id)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func steps(t testing.TB, pool *pgxpool.Pool, id int32) string {
	t.Helper()
	recs, err := jobs.Steps(t.Context(), pool, id)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, r := range recs {
		out = append(out, r.Name+":"+string(r.State))
	}
	return strings.Join(out, " ")
}

func TestJobRunsToItsEnd(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t, jobs.Migrations)
	var d diary
	r, stop := start(t, pool, slow, d.handler(d.step("disk", nil), d.step("domain", nil)))
	var j jobs.Job
	err := pg.InTx(t.Context(), pool, func(tx pgx.Tx) (err error) {
		j, err = jobs.Enqueue(t.Context(), tx, jobs.New{
			Kind: "work", Key: "vm_1", Args: args{"x"}, AccountID: 7, CreatedBy: "user:7", RequestID: "req",
		})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if j.ID != 100001 || j.State != jobs.Queued {
		t.Errorf("new job %+v", j)
	}
	r.Poke()
	got := wait(t, pool, j.ID)
	stop()
	if got.State != jobs.Done || got.Attempt != 1 || got.FinishedAt == nil || got.StartedAt == nil || got.Reason != "" ||
		got.AccountID != 7 || got.CreatedBy != "user:7" || got.RequestID != "req" {
		t.Errorf("job %+v", got)
	}
	if d.String() != "+disk +domain done" {
		t.Errorf("diary %s", &d)
	}
	if s := steps(t, pool, j.ID); s != "disk:done domain:done" {
		t.Errorf("steps %s", s)
	}
	if _, err := jobs.Get(t.Context(), pool, 1); !errors.Is(err, fault.NotFound) {
		t.Errorf("unknown job: %v", err)
	}
}

func TestDoneCommitsWithTheJob(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t, jobs.Migrations)
	if _, err := pool.Exec(t.Context(), `CREATE TABLE effect (n int)`); err != nil {
		t.Fatal(err)
	}
	var d diary
	h := d.handler(d.step("a", nil))
	tries := 0
	h.Done = func(ctx context.Context, tx pgx.Tx, _ *jobs.Run, _ args) error {
		tries++
		if _, err := tx.Exec(ctx, `INSERT INTO effect VALUES ($1)`, tries); err != nil {
			return err
		}
		if tries < 3 {
			return errors.New("not yet")
		}
		return nil
	}
	r, stop := start(t, pool, slow, h)
	j := wait(t, pool, enqueue(t, pool, r, "k").ID)
	stop()
	var n int
	if err := pool.QueryRow(t.Context(), `SELECT sum(n) FROM effect`).Scan(&n); err != nil || n != 3 {
		t.Errorf("effects of failed attempts stayed: %d %v", n, err)
	}
	if j.State != jobs.Done || j.Attempt != 3 {
		t.Errorf("job %+v", j)
	}
	if d.String() != "+a" {
		t.Errorf("a finished step ran again: %s", &d)
	}
}

func TestRunAtIsAwaited(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t, jobs.Migrations)
	var d diary
	start(t, pool, jobs.Config{Name: "test", Poll: 20 * time.Millisecond}, d.handler(d.step("a", nil)))
	at := time.Now().Add(300 * time.Millisecond)
	var j jobs.Job
	err := pg.InTx(t.Context(), pool, func(tx pgx.Tx) (err error) {
		j, err = jobs.Enqueue(t.Context(), tx, jobs.New{Kind: "work", Key: "k", RunAt: at})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := wait(t, pool, j.ID); got.StartedAt.Before(at.Add(-time.Millisecond)) {
		t.Errorf("started %s too early", at.Sub(*got.StartedAt))
	}
}

// A malformed row, or a row of a newer program, must neither stop the runner nor be tried without end.
func TestPoisonedRows(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t, jobs.Migrations)
	var d diary
	r, _ := start(t, pool, slow, d.handler(d.step("a", nil)))
	for _, tt := range []struct{ kind, args, reason string }{
		{"work", `null`, "BAD_ARGS"},
		{"work", `[1]`, "BAD_ARGS"},
		{"work", `"x"`, "BAD_ARGS"},
		{"work", `{"name": 5}`, "BAD_ARGS"},
		{"other", `{}`, "UNKNOWN_KIND"},
		{"work", `{"name": null, "newer": 1}`, ""},
	} {
		var id int32
		err := pool.QueryRow(t.Context(), `INSERT INTO job (kind, key, args) VALUES ($1, $2, $3) RETURNING id`,
			tt.kind, "key "+tt.args, json.RawMessage(tt.args)).Scan(&id)
		if err != nil {
			t.Fatal(err)
		}
		r.Poke()
		if j := wait(t, pool, id); j.Reason != tt.reason || (j.State == jobs.Done) != (tt.reason == "") {
			t.Errorf("%s %s: %s %s", tt.kind, tt.args, j.State, j.Reason)
		}
	}
}

// While a new release rolls out, an old runner leaves jobs alone that only the new one knows.
func TestUnknownKindIsLeftToANewerProgram(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t, jobs.Migrations)
	var d diary
	old := jobs.NewRunner(pool, jobs.Config{Name: "old", Poll: 5 * time.Millisecond, UnknownAfter: time.Minute})
	run(t, old)
	j := enqueue(t, pool, old, "k")
	r, _ := start(t, pool, slow, d.handler(d.step("a", nil)))
	r.Poke()
	if got := wait(t, pool, j.ID); got.State != jobs.Done {
		t.Errorf("job %+v", got)
	}
}

func TestRunnerLeavesNothingBehind(t *testing.T) {
	pool := pgtest.New(t, jobs.Migrations)
	if err := pool.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	before := goleak.IgnoreCurrent()
	var d diary
	r, stop := start(t, pool, slow, d.handler(d.step("a", nil)))
	for i := range 20 {
		enqueue(t, pool, r, fmt.Sprint(i))
	}
	stop()
	pool.Reset() // its own goroutines are not the runner's
	goleak.VerifyNone(t, before, goleak.IgnoreAnyFunction("github.com/jackc/pgx/v5/pgxpool.(*Pool).backgroundHealthCheck"))
}

func TestMistakesOfTheProgrammer(t *testing.T) {
	t.Parallel()
	ok := jobs.Step[args]{Name: "a", Do: func(context.Context, *jobs.Run, args) error { return nil }}
	for name, h := range map[string]jobs.Handler[args]{
		"no do":         {Steps: []jobs.Step[args]{{Name: "a"}}},
		"no name":       {Steps: []jobs.Step[args]{{Do: ok.Do}}},
		"the same name": {Steps: []jobs.Step[args]{ok, ok}},
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: accepted", name)
				}
			}()
			jobs.Handle(jobs.NewRunner(nil, jobs.Config{}), "work", h)
		}()
	}
}
