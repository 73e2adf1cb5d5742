package jobs

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
	"google.golang.org/grpc/codes"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/pg"
	"slipway.dev/pkg/pg/pgtest"
)

// two is one book twice: what is written in one is written in the other, and both must say the same.
type two struct {
	*testing.T
	sql tables
	mem inMemory
	did []string
}

func (w *two) same(what string, sql, mem any) {
	w.Helper()
	w.did = append(w.did, what)
	if a, b := fmt.Sprintf("%+v", sql), fmt.Sprintf("%+v", mem); a != b {
		w.Fatalf("%s\nthe tables: %s\nthe memory: %s", strings.Join(w.did, "\n"), a, b)
	}
}

// do runs f on both books.
func (w *two) do(what string, f func(b book) (any, error)) {
	w.Helper()
	answer := func(b book) string {
		v, err := f(b)
		return fmt.Sprintf("%+v %v %v", v, err, errors.Is(err, ErrLeaseLost))
	}
	w.same(what, answer(w.sql), answer(w.mem))
	w.same("  rows", w.rows(), w.memoryRows())
}

const rowText = "%d %s %s %s attempt %d cancel %v %d %q %q fence %d failures %d panics %d lost %d leased %v by %q due %v began %v over %v\n"

func (w *two) rows() string {
	var out strings.Builder
	rows, err := w.sql.pool.Query(w.Context(), `
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
	rows, err = w.sql.pool.Query(w.Context(), `SELECT job_id, seq, name, state, started_at, finished_at, error FROM job_step ORDER BY job_id, seq`)
	if err != nil {
		w.Fatal(err)
	}
	var job int32
	var s StepRecord
	_, err = pgx.ForEachRow(rows, []any{&job, &s.Seq, &s.Name, &s.State, &s.StartedAt, &s.FinishedAt, &s.Error}, func() error {
		out.WriteString(stepText(job, []StepRecord{s}))
		return nil
	})
	if err != nil {
		w.Fatal(err)
	}
	return out.String()
}

func (w *two) memoryRows() string {
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

func stepText(job int32, list []StepRecord) string {
	var out strings.Builder
	for _, s := range list {
		fmt.Fprintf(&out, "%d.%d %s %s %v %q\n", job, s.Seq, s.Name, s.State, s.FinishedAt != nil, s.Error)
	}
	return out.String()
}

// claims tells what a claim gave, in the order of ids: the tables promise none.
func claims(got []claimed, err error) (any, error) {
	out := map[int32]string{}
	for _, c := range got {
		out[c.ID] = fmt.Sprintln(c.Kind, c.Key, string(c.Args), c.State, c.Attempt, c.CancelRequested, c.Reason, c.Failures, c.Panics, c.Lost, c.Code, c.Fresh, c.Fence > 0)
	}
	return out, err
}

// TestBooksAgree does the same to the tables and to a Memory, by chance, and compares answers and rows after each: what a
// simulation on a Memory shows is true of the tables. Leases that ended are made so, not waited for.
func TestBooksAgree(t *testing.T) {
	t.Parallel()
	for seed := range uint64(8) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			random := rand.New(rand.NewPCG(seed, 1))
			w := &two{T: t, sql: tables{pgtest.New(t, Migrations)}, mem: inMemory{
				NewMemory(time.Now), func(_ context.Context, _ string, do func() error) error { return do() },
			}}
			for range 400 {
				w.chance(random)
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

// chance does one thing to a job that was picked, mostly in its present lease.
func (w *two) chance(random *rand.Rand) {
	m := w.mem.m
	ctx, h := w.Context(), held{}
	var steps []StepRecord
	open := slices.DeleteFunc(slices.Clone(m.jobs), func(j *memoryJob) bool { return j.Fence == 0 || j.State.Finished() })
	if len(open) == 0 || random.IntN(6) == 0 {
		open = m.jobs
	}
	if len(open) > 0 {
		j := open[random.IntN(len(open))]
		h, steps = held{j.ID, j.Fence}, j.steps
		if random.IntN(8) == 0 {
			h.fence--
		}
	}
	lease := []time.Duration{time.Hour, time.Hour, time.Hour, -time.Second}[random.IntN(4)]
	f := fault.New(codes.Unavailable, "AWAY", "the node is away")
	seq := 1 + random.IntN(3)
	what := random.IntN(18)
	if h.fence == 0 && what > 5 && what < 17 {
		what = 3 // nobody holds what was never claimed
	}
	switch what {
	case 0, 1:
		n := New{Kind: []string{"a", "a", "other"}[random.IntN(3)], Key: []string{"x", "y"}[random.IntN(2)], AccountID: 7, RequestID: "r"}
		var made Job
		if err := pg.InTx(ctx, w.sql.pool, func(tx pgx.Tx) (err error) {
			made, err = Enqueue(ctx, tx, n)
			return err
		}); err != nil {
			w.Fatal(err)
		}
		_ = m.Do(func(t *MemoryTx) error {
			j, err := t.Enqueue(n)
			w.same("enqueue", fmt.Sprint(made.ID, made.State, string(made.Args)), fmt.Sprint(j.ID, j.State, string(j.Args)))
			return err
		})
	case 2, 17:
		key, n := []string{"x", "y"}[random.IntN(2)], 0
		if err := pg.InTx(ctx, w.sql.pool, func(tx pgx.Tx) (err error) {
			n, err = Cancel(ctx, tx, key)
			return err
		}); err != nil {
			w.Fatal(err)
		}
		_ = m.Do(func(t *MemoryTx) error {
			w.same("cancel", n, t.Cancel(key))
			return nil
		})
	case 3, 4, 5:
		// One at a time: which of several gets which fence is not promised.
		w.do("claim", func(b book) (any, error) {
			return claims(b.claim(ctx, 1, "w1", lease, []string{"a"}, time.Hour))
		})
	case 6, 7, 8:
		next := &StepRecord{Seq: seq, Name: fmt.Sprint("step", seq)}
		if seq > len(steps)+1 || random.IntN(5) == 0 {
			next = nil
		}
		pending := random.IntN(len(steps) + 1)
		w.do(fmt.Sprint("advance ", h, pending, next), func(b book) (any, error) { return b.advance(ctx, h, lease, pending, next) })
	case 9, 15:
		w.do(fmt.Sprint("turn ", h), func(b book) (any, error) { return b.turn(ctx, h, lease, f) })
	case 10:
		w.do(fmt.Sprint("undone ", h, seq), func(b book) (any, error) { return nil, b.undone(ctx, h, lease, seq) })
	case 11:
		a := again{after: time.Duration(random.IntN(2)) * time.Hour, failure: random.IntN(2) == 0, uncount: random.IntN(3) == 0, panicked: random.IntN(4) == 0}
		if random.IntN(2) == 0 {
			a.err = f
		}
		w.do(fmt.Sprint("release ", h, a), func(b book) (any, error) { return nil, b.release(ctx, h, seq, a) })
	case 12:
		if random.IntN(2) == 0 {
			return // so that jobs live long
		}
		w.do(fmt.Sprint("finish ", h), func(b book) (any, error) {
			return nil, b.inTx(ctx, func(tx pgx.Tx) error { return b.finish(ctx, tx, h, len(steps)) })
		})
	case 13:
		if random.IntN(2) == 0 {
			return
		}
		w.do(fmt.Sprint("fail ", h), func(b book) (any, error) {
			return nil, b.inTx(ctx, func(tx pgx.Tx) error { return b.fail(ctx, tx, h) })
		})
	case 14:
		w.do(fmt.Sprint("renew ", h), func(b book) (any, error) { return b.renew(ctx, []int32{h.id}, []int64{h.fence}, time.Hour) })
		w.do(fmt.Sprint("canceled ", h), func(b book) (any, error) { return b.canceled(ctx, []int32{h.id}, []int64{h.fence}) })
	case 16:
		if random.IntN(4) == 0 {
			w.do("give up", func(b book) (any, error) { return nil, b.giveUp(ctx, h, f) })
		} else {
			w.do("take over", func(b book) (any, error) { return nil, b.takeOver(ctx, "w1") })
		}
	}
}

// TestMemoryTakesBack: a unit of work that fails leaves nothing, as a transaction does.
func TestMemoryTakesBack(t *testing.T) {
	t.Parallel()
	m, none := NewMemory(time.Now), errors.New("no")
	_ = m.Do(func(t *MemoryTx) error {
		_, err := t.Enqueue(New{Kind: "a", Key: "k"})
		return err
	})
	err := m.Do(func(tx *MemoryTx) error {
		if _, err := tx.Enqueue(New{Kind: "a", Key: "l"}); err != nil {
			return err
		}
		if tx.Cancel("k") != 1 || len(tx.Pending("k")) != 0 || len(tx.Pending("l")) != 1 {
			t.Error("the unit of work does not see what it did")
		}
		return none
	})
	if list := m.Jobs(); !errors.Is(err, none) || len(list) != 1 || list[0].State != Queued || list[0].CancelRequested {
		t.Errorf("%v, left %+v", err, list)
	}
}
