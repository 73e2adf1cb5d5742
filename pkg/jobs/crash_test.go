package jobs_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"slipway.dev/pkg/crash"
	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/jobs"
	"slipway.dev/pkg/pg"
	"slipway.dev/pkg/pg/pgtest"
)

// Environment variables that make the test binary run the jobs of a schema, as the process that is killed.
const (
	childURL    = "JOBS_TEST_URL"
	childSchema = "JOBS_TEST_SCHEMA"
)

// child carries out jobs of two kinds, one that succeeds and one that fails in its last step, until none is left.
func child(url, schema string) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	pool, err := pg.Open(ctx, url, schema)
	if err != nil {
		panic(err)
	}
	defer pool.Close()
	r := jobs.NewRunner(pool, jobs.Config{Name: "child", Poll: 5 * time.Millisecond, TakeOver: true})
	jobs.Handle(r, "good", ledgerHandler(pool, nil))
	jobs.Handle(r, "bad", ledgerHandler(pool, fault.NotFound))
	go func() {
		defer cancel()
		for ctx.Err() == nil {
			var left int
			err := pool.QueryRow(ctx, `SELECT count(*) FROM job WHERE finished_at IS NULL`).Scan(&left)
			if err == nil && left == 0 {
				return
			}
		}
	}()
	_ = r.Run(ctx)
}

// ledgerHandler writes each step to the table ledger at once, like a change outside the database.
func ledgerHandler(pool *pgxpool.Pool, last error) jobs.Handler[args] {
	note := func(ctx context.Context, db pg.DB, run *jobs.Run, what string) error {
		_, err := db.Exec(ctx, `INSERT INTO ledger (job, fence, what) VALUES ($1, $2, $3)`, run.ID, run.Fence(), what)
		return err
	}
	h := jobs.Handler[args]{
		Backoff: time.Millisecond,
		Done: func(ctx context.Context, tx pgx.Tx, run *jobs.Run, _ args) error {
			return note(ctx, tx, run, "done")
		},
		Failed: func(ctx context.Context, tx pgx.Tx, run *jobs.Run, _ args, cause *fault.Fault) error {
			return note(ctx, tx, run, "failed:"+cause.Reason+":"+cause.Code.String())
		},
	}
	for _, name := range []string{"s1", "s2", "s3"} {
		h.Steps = append(h.Steps, jobs.Step[args]{
			Name: name,
			Do: func(ctx context.Context, run *jobs.Run, _ args) error {
				if err := note(ctx, pool, run, "+"+name); err != nil || name != "s3" {
					return err
				}
				return last
			},
			Undo: func(ctx context.Context, run *jobs.Run, _ args) error { return note(ctx, pool, run, "-"+name) },
		})
	}
	return h
}

// A process is killed at every point of a job. Its successor finishes the job: every step runs once more at most, recorded
// steps do not run again, the end comes exactly once, and undos run in reverse.
func TestKilledAtEveryPoint(t *testing.T) {
	t.Parallel()
	goodPoints := []string{"job.claim.after", "job.good.done.before", "job.good.done.after"}
	for _, s := range []string{"s1", "s2", "s3"} {
		goodPoints = append(goodPoints, "job.good."+s+".before", "job.good."+s+".after")
	}
	badPoints := []string{"job.bad.s3.before", "job.bad.failed.before", "job.bad.failed.after", "job.claim.after:2"}
	for _, s := range []string{"s1", "s2", "s3"} {
		badPoints = append(badPoints, "job.bad."+s+".undo.before", "job.bad."+s+".undo.after")
	}
	for kind, points := range map[string][]string{"good": goodPoints, "bad": badPoints} {
		for _, point := range points {
			t.Run(kind+" "+point, func(t *testing.T) {
				t.Parallel()
				killedAt(t, kind, point)
			})
		}
	}
}

func killedAt(t *testing.T, kind, point string) {
	url, schema := pgtest.Schema(t)
	pool := pgtest.Open(t, url, schema)
	if err := pg.Migrate(t.Context(), pool, jobs.Migrations); err != nil {
		t.Fatal(err)
	}
	if _, err := pool.Exec(t.Context(), `CREATE TABLE ledger (id serial, job int, fence bigint, what text)`); err != nil {
		t.Fatal(err)
	}
	var j jobs.Job
	err := pg.InTx(t.Context(), pool, func(tx pgx.Tx) (err error) {
		j, err = jobs.Enqueue(t.Context(), tx, jobs.New{Kind: kind, Key: "k"})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	killed := runChild(t, url, schema, point)
	if _, later := strings.CutSuffix(point, ":2"); killed == later { // a second claim happens only after a crash
		t.Errorf("killed: %v", killed)
	}
	if runChild(t, url, schema, "") {
		t.Error("the successor was killed")
	}
	got := wait(t, pool, j.ID)
	what := ledger(t, pool)
	if kind == "good" {
		if got.State != jobs.Done || !slices.Equal(slices.Compact(what), []string{"+s1", "+s2", "+s3", "done"}) {
			t.Errorf("%s: %v", got.State, what)
		}
	} else if got.State != jobs.Failed || !slices.Equal(slices.Compact(what),
		[]string{"+s1", "+s2", "+s3", "-s3", "-s2", "-s1", "failed:NOT_FOUND:NotFound"}) {
		t.Errorf("%s: %v", got.State, what)
	}
	if len(what) > len(slices.Compact(slices.Clone(what)))+1 {
		t.Errorf("more than one step was repeated: %v", what)
	}
}

// runChild reports whether the process was killed.
func runChild(t *testing.T, url, schema, point string) bool {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childURL+"="+url, childSchema+"="+schema, crash.Env+"="+point)
	out, err := cmd.CombinedOutput()
	if err == nil {
		return false
	}
	if ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && ws.Signal() == syscall.SIGKILL {
		return true
	}
	t.Fatalf("child: %v\n%s", err, out)
	return false
}

func ledger(t *testing.T, pool *pgxpool.Pool) []string {
	t.Helper()
	rows, err := pool.Query(t.Context(), `SELECT fence, what FROM ledger ORDER BY id`)
	if err != nil {
		t.Fatal(err)
	}
	var last int64
	what, err := pgx.CollectRows(rows, func(r pgx.CollectableRow) (string, error) {
		var fence int64
		var s string
		err := r.Scan(&fence, &s)
		if fence < last {
			err = fmt.Errorf("fence %d after %d", fence, last)
		}
		last = fence
		return s, err
	})
	if err != nil {
		t.Fatal(err)
	}
	return what
}
