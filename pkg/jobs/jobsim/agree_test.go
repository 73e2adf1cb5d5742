package jobsim

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"google.golang.org/grpc/codes"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/jobs"
	"slipway.dev/pkg/jobs/internal/backend"
	"slipway.dev/pkg/jobs/internal/tables"
	"slipway.dev/pkg/pg"
	"slipway.dev/pkg/pg/pgtest"
)

// both calls two backends with the same arguments and compares their answers and rows.
type both struct {
	*testing.T
	pool *pgxpool.Pool
	sql  tables.Tables
	mem  memoryBackend
	done []string // the calls so far
}

func (w *both) same(what string, sql, mem any) {
	w.Helper()
	w.done = append(w.done, what)
	if a, b := fmt.Sprintf("%+v", sql), fmt.Sprintf("%+v", mem); a != b {
		w.Fatalf("%s\nthe tables: %s\nthe memory: %s", strings.Join(w.done, "\n"), a, b)
	}
}

// do calls f with both backends.
func (w *both) do(what string, f func(b backend.Backend) (any, error)) {
	w.Helper()
	answer := func(b backend.Backend) string {
		v, err := f(b)
		return fmt.Sprintf("%+v %v %v", v, err, errors.Is(err, backend.ErrLeaseLost))
	}
	w.same(what, answer(w.sql), answer(w.mem))
	w.same("  rows", w.rows(), w.memoryRows())
}

const rowText = "%d %s %s %s attempt %d cancel %v %d %q %q fence %d failures %d panics %d lost %d leased %v by %q due %v began %v over %v\n"

func (w *both) rows() string {
	var out strings.Builder
	rows, err := w.pool.Query(w.Context(), `
		SELECT id, kind, key, state, attempt, cancel_requested, code, reason, error, fence, failures, panics, lost,
			coalesce(lease_until > now(), false), coalesce(locked_by, ''), run_at <= now(), started_at IS NOT NULL, finished_at IS NOT NULL
		FROM job ORDER BY id`)
	if err != nil {
		w.Fatal(err)
	}
	for rows.Next() {
		v, err := rows.Values()
		if err != nil {
			w.Fatal(err)
		}
		fmt.Fprintf(&out, rowText, v...)
	}
	if rows.Err() != nil {
		w.Fatal(rows.Err())
	}
	rows, err = w.pool.Query(w.Context(), `SELECT job_id, seq, name, state, started_at, finished_at, error FROM job_step ORDER BY job_id, seq`)
	if err != nil {
		w.Fatal(err)
	}
	var job int32
	var s backend.StepRecord
	_, err = pgx.ForEachRow(rows, []any{&job, &s.Seq, &s.Name, &s.State, &s.StartedAt, &s.FinishedAt, &s.Error}, func() error {
		out.WriteString(stepText(job, []backend.StepRecord{s}))
		return nil
	})
	if err != nil {
		w.Fatal(err)
	}
	return out.String()
}

func (w *both) memoryRows() string {
	var out strings.Builder
	m, now := w.mem.m, time.Now()
	for _, j := range m.jobs {
		fmt.Fprintf(&out, rowText, j.ID, j.Kind, j.Key, j.State, j.Attempt, j.CancelRequested, j.Code, j.Reason, j.Error, j.Fence,
			j.Failures, j.Panics, j.Lost, j.until.After(now), j.holder, !j.RunAt.After(now), j.StartedAt != nil, j.FinishedAt != nil)
	}
	for _, j := range m.jobs {
		out.WriteString(stepText(j.ID, j.steps))
	}
	return out.String()
}

func stepText(job int32, list []backend.StepRecord) string {
	var out strings.Builder
	for _, s := range list {
		fmt.Fprintf(&out, "%d.%d %s %s %v %q\n", job, s.Seq, s.Name, s.State, s.FinishedAt != nil, s.Error)
	}
	return out.String()
}

// claims prints the claimed jobs in the order of ids: the tables promise no order.
func claims(got []backend.Claimed, err error) (any, error) {
	out := map[int32]string{}
	for _, c := range got {
		out[c.ID] = fmt.Sprintln(c.AccountID, c.NodeID, c.Turn, c.Kind, c.Key, string(c.Args), c.State, c.Attempt, c.CancelRequested, c.Reason, c.Failures, c.Panics, c.Lost, c.Code, c.Fresh, c.Fence > 0)
	}
	return out, err
}

// TestBackendsAgree makes the same random calls to the tables and to a Memory, and compares answers and rows after each: what
// a simulation on a Memory shows is true of the tables. Leases are made with an end in the past, so that the test need not
// wait.
func TestBackendsAgree(t *testing.T) {
	t.Parallel()
	for seed := range uint64(8) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			random := rand.New(rand.NewPCG(seed, 1))
			// Numbers of leases without a timeline, as those of the memory are.
			url, schema := pgtest.Schema(t)
			pool := pgtest.Open(t, pgtest.With(url, "slipway.timeline_base", "-1"), schema)
			if err := pg.Migrate(t.Context(), pool, jobs.Migrations); err != nil {
				t.Fatal(err)
			}
			direct := func(_ context.Context, _ string, do func() error) error { return do() }
			w := &both{T: t, pool: pool, sql: tables.New(pool), mem: memoryBackend{New(time.Now), direct}}
			for range 400 {
				w.call(random)
			}
			ended := 0
			for _, j := range w.mem.m.jobs {
				if j.State.Finished() {
					ended++
				}
			}
			if ended < 3 {
				t.Errorf("only %d of %d jobs ended: too little was tried", ended, len(w.mem.m.jobs))
			}
		})
	}
}

// call makes one random call on a random job, mostly in its present lease.
func (w *both) call(random *rand.Rand) {
	m := w.mem.m
	ctx, h := w.Context(), backend.Lease{}
	var steps []backend.StepRecord
	open := slices.DeleteFunc(slices.Clone(m.jobs), func(j *job) bool { return j.Fence == 0 || j.State.Finished() })
	if len(open) == 0 || random.IntN(6) == 0 {
		open = m.jobs
	}
	if len(open) > 0 {
		j := open[random.IntN(len(open))]
		h, steps = backend.Lease{ID: j.ID, Fence: j.Fence}, j.steps
		if random.IntN(8) == 0 {
			h.Fence--
		}
	}
	lease := []time.Duration{time.Hour, time.Hour, time.Hour, -time.Second}[random.IntN(4)]
	f := fault.New(codes.Unavailable, "AWAY", "the node is away")
	seq := 1 + random.IntN(3)
	what := random.IntN(18)
	if h.Fence == 0 && what > 5 && what < 17 {
		what = 3 // a job that was never claimed has no lease
	}
	switch what {
	case 0, 1:
		n := jobs.New{
			Kind: []string{"a", "a", "other"}[random.IntN(3)], Key: []string{"x", "y", "z", "v"}[random.IntN(4)], RequestID: "r",
			AccountID: int32(random.IntN(3)), NodeID: int32(random.IntN(4)),
		}
		var made jobs.Job
		if err := pg.InTx(ctx, w.pool, func(tx pgx.Tx) (err error) {
			made, err = jobs.Enqueue(ctx, tx, n)
			return err
		}); err != nil {
			w.Fatal(err)
		}
		_ = m.Do(func(t *Tx) error {
			j, err := t.Enqueue(n)
			w.same("enqueue", fmt.Sprint(made.ID, made.State, string(made.Args)), fmt.Sprint(j.ID, j.State, string(j.Args)))
			return err
		})
	case 2, 17:
		key, n := []string{"x", "y", "z", "v"}[random.IntN(4)], 0
		if err := pg.InTx(ctx, w.pool, func(tx pgx.Tx) (err error) {
			n, err = jobs.Cancel(ctx, tx, key)
			return err
		}); err != nil {
			w.Fatal(err)
		}
		_ = m.Do(func(t *Tx) error {
			w.same("cancel", n, t.Cancel(key))
			return nil
		})
	case 3, 4, 5:
		// One at a time: the order of fences of several jobs is not promised.
		c := backend.Claim{
			Limit: 1, Name: "w1", Lease: lease, Kinds: []string{"a"}, UnknownAfter: time.Hour, Shares: someShares(random),
		}
		w.do(fmt.Sprintf("claim %+v", c.Shares), func(b backend.Backend) (any, error) { return claims(b.Claim(ctx, c)) })
	case 6, 7, 8:
		next := &backend.StepRecord{Seq: seq, Name: fmt.Sprint("step", seq)}
		if seq > len(steps)+1 || random.IntN(5) == 0 {
			next = nil
		}
		pending := random.IntN(len(steps) + 1)
		w.do(fmt.Sprint("advance ", h, pending, next), func(b backend.Backend) (any, error) { return b.Advance(ctx, h, lease, pending, next) })
	case 9, 15:
		w.do(fmt.Sprint("turn ", h), func(b backend.Backend) (any, error) { return b.StartUndo(ctx, h, lease, f) })
	case 10:
		w.do(fmt.Sprint("undone ", h, seq), func(b backend.Backend) (any, error) { return nil, b.Undone(ctx, h, lease, seq) })
	case 11:
		r := backend.Release{
			After: time.Duration(random.IntN(2)) * time.Hour, Failures: random.IntN(2), Attempts: -(random.IntN(3) / 2), Panics: random.IntN(4) / 3,
		}
		if random.IntN(2) == 0 {
			r.Fault = f
		}
		w.do(fmt.Sprint("release ", h, r), func(b backend.Backend) (any, error) { return nil, b.Release(ctx, h, seq, r) })
	case 12:
		if random.IntN(2) == 0 {
			return // so that jobs live long
		}
		w.do(fmt.Sprint("finish ", h), func(b backend.Backend) (any, error) {
			return nil, b.InTx(ctx, func(tx pgx.Tx) error { return b.Finish(ctx, tx, h, len(steps)) })
		})
	case 13:
		if random.IntN(2) == 0 {
			return
		}
		w.do(fmt.Sprint("fail ", h), func(b backend.Backend) (any, error) {
			return nil, b.InTx(ctx, func(tx pgx.Tx) error { return b.Fail(ctx, tx, h) })
		})
	case 14:
		w.do(fmt.Sprint("renew ", h), func(b backend.Backend) (any, error) { return b.Renew(ctx, []int32{h.ID}, []int64{h.Fence}, time.Hour) })
		w.do(fmt.Sprint("canceled ", h), func(b backend.Backend) (any, error) { return b.Canceled(ctx, []int32{h.ID}, []int64{h.Fence}) })
	case 16:
		if random.IntN(3) == 0 {
			nodes := []int32{int32(1 + random.IntN(3)), int32(1 + random.IntN(3))}
			w.do(fmt.Sprint("explain ", nodes), func(b backend.Backend) (any, error) {
				return nil, b.Explain(ctx, nodes, backend.ErrNodeHangs)
			})
		} else if random.IntN(4) == 0 {
			w.do("give up", func(b backend.Backend) (any, error) { return nil, b.GiveUp(ctx, h, f) })
		} else {
			w.do("take over", func(b backend.Backend) (any, error) { return nil, b.TakeOver(ctx, "w1") })
		}
	}
}

// someShares returns bounds as a runner may have them.
func someShares(random *rand.Rand) backend.Shares {
	s := backend.Shares{
		Served: int32(random.IntN(3)), Pivot: int32(random.IntN(100)), PerAccount: random.IntN(4), PerNode: random.IntN(4), PerBoth: random.IntN(3),
	}
	for range random.IntN(3) {
		s.Busy = append(s.Busy, backend.Party{AccountID: int32(random.IntN(3)), NodeID: int32(random.IntN(4))})
	}
	switch random.IntN(6) {
	case 0:
		s.Shut = []int32{int32(1 + random.IntN(3))}
	case 1:
		s.Probed = []int32{int32(1 + random.IntN(3))}
	}
	return s
}

// TestChoicesAgree has the tables and a Memory choose among many due jobs of several accounts and nodes: both choose the
// same jobs in the same order.
func TestChoicesAgree(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t, jobs.Migrations)
	direct := func(_ context.Context, _ string, do func() error) error { return do() }
	sql, mem := tables.New(pool), memoryBackend{New(time.Now), direct}
	random := rand.New(rand.NewPCG(3, 3))
	for i := range 120 {
		n := jobs.New{
			Kind: "a", Key: fmt.Sprint(random.IntN(90)), AccountID: int32(random.IntN(4)), NodeID: int32(random.IntN(5)),
			RunAt: time.Unix(int64(1000+i), 0),
		}
		if err := pg.InTx(t.Context(), pool, func(tx pgx.Tx) error {
			_, err := jobs.Enqueue(t.Context(), tx, n)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		_ = mem.m.Do(func(t *Tx) error {
			_, err := t.Enqueue(n)
			return err
		})
	}
	for i := range 60 {
		c := backend.Claim{Limit: 1 + random.IntN(20), Name: "w", Lease: -time.Second, Kinds: []string{"a"}, Shares: someShares(random)}
		turns := func(b backend.Backend) string {
			got, err := b.Claim(t.Context(), c)
			if err != nil {
				t.Fatal(err)
			}
			slices.SortFunc(got, func(a, b backend.Claimed) int { return a.Turn - b.Turn })
			var out strings.Builder
			for _, x := range got {
				fmt.Fprint(&out, x.ID, " of ", x.AccountID, "/", x.NodeID, ", ")
			}
			return out.String()
		}
		if a, b := turns(sql), turns(mem); a != b {
			t.Fatalf("claim %d %+v\nthe tables: %s\nthe memory: %s", i, c, a, b)
		}
	}
}

// TestRollback checks that a unit of work that fails changes nothing.
func TestRollback(t *testing.T) {
	t.Parallel()
	m, none := New(time.Now), errors.New("no")
	_ = m.Do(func(t *Tx) error {
		_, err := t.Enqueue(jobs.New{Kind: "a", Key: "k"})
		return err
	})
	err := m.Do(func(tx *Tx) error {
		if _, err := tx.Enqueue(jobs.New{Kind: "a", Key: "l"}); err != nil {
			return err
		}
		if tx.Cancel("k") != 1 || len(tx.Pending("k")) != 0 || len(tx.Pending("l")) != 1 {
			t.Error("the unit of work does not see what it did")
		}
		return none
	})
	if list := m.Jobs(); !errors.Is(err, none) || len(list) != 1 || list[0].State != jobs.Queued || list[0].CancelRequested {
		t.Errorf("%v, left %+v", err, list)
	}
}
