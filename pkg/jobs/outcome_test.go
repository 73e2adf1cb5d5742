package jobs_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackc/pgx/v5"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/jobs"
	"slipway.dev/pkg/pg"
	"slipway.dev/pkg/pg/pgtest"
)

// lines collects log lines.
type lines struct {
	mu  sync.Mutex
	out bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.out.Write(b)
}

// outcomes returns level, outcome and whether there is an error, of each line about a job; other lines by their text.
func (l *lines) outcomes(t *testing.T) (list []string) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(l.out.String()) {
		var r struct {
			Level, Msg, Outcome, Err, Stack string
			Attempt                         int
		}
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatal(err)
		}
		text := r.Level + " " + r.Msg
		if r.Msg == "job" {
			text = fmt.Sprint(r.Level, " ", r.Attempt, " ", r.Outcome)
			if r.Err != "" {
				text += ": " + strings.ReplaceAll(r.Err, "\n", "; ")
			}
			if r.Stack != "" {
				text += " with a stack"
			}
		}
		list = append(list, text)
	}
	return list
}

// TestOutcomesAreLogged checks the line that each attempt leaves.
func TestOutcomesAreLogged(t *testing.T) {
	t.Parallel()
	refused := fault.NotFound.With("no disk")
	for _, tt := range []struct {
		name  string
		do    func(ctx context.Context, try int) error
		after func(p *plant, id int32)
		want  []string
	}{
		{"done", func(context.Context, int) error { return nil }, nil, []string{"INFO 1 done"}},
		{"a retry", func(_ context.Context, try int) error {
			if try == 1 {
				return errors.New("once")
			}
			return nil
		}, nil, []string{"WARN 1 retry: work: once", "INFO 2 done"}},
		{"failed", func(context.Context, int) error { return refused }, nil, []string{"ERROR 1 failed: work: no disk"}},
		{"panics", func(_ context.Context, try int) error {
			if try == 1 {
				panic("oh")
			}
			return nil
		}, nil, []string{"WARN 1 retry: work: internal error: panic: oh with a stack", "INFO 2 done"}},
		{"canceled", func(ctx context.Context, _ int) error { <-ctx.Done(); return ctx.Err() }, func(p *plant, id int32) {
			p.cancel([]int32{id})
		}, []string{"WARN 1 canceled: the task was canceled"}},
		{"shutdown", func(ctx context.Context, _ int) error { <-ctx.Done(); return ctx.Err() }, func(p *plant, _ int32) {
			p.stop()
		}, []string{"INFO 1 put back"}},
		{"lost", func(ctx context.Context, _ int) error { <-ctx.Done(); return ctx.Err() }, func(p *plant, _ int32) {
			p.away.Store(true)
			time.Sleep(time.Minute)
		}, []string{
			"WARN 1 lost: the lease of the job is lost; work: context canceled", "WARN jobs: claim", "WARN jobs: renew leases",
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var log lines
				cfg := shared
				cfg.Log = slog.New(slog.NewJSONHandler(&log, nil))
				p := startPlant(t, 1, cfg, nil)
				try := 0
				p.kinds = func(r *jobs.Runner) {
					jobs.Handle(r, "work", jobs.Handler[args]{Steps: []jobs.Step[args]{{
						Name: "work", Timeout: time.Hour, Do: func(ctx context.Context, _ *jobs.Run, _ args) error {
							try++
							return tt.do(ctx, try)
						},
					}}})
				}
				p.restart()
				id := p.kind("work", 1)[0]
				time.Sleep(2 * time.Second)
				if tt.after != nil {
					tt.after(p, id)
					time.Sleep(2 * time.Second)
				}
				got := log.outcomes(t)
				slices.Sort(got)
				if got = slices.Compact(got); strings.Join(got, "|") != strings.Join(sorted(tt.want), "|") {
					t.Errorf("got  %q\nwant %q", got, tt.want)
				}
			})
		})
	}
}

func sorted(list []string) []string {
	list = slices.Clone(list)
	slices.Sort(list)
	return list
}

// TestErrorsOfReadsComeOut has the functions of the package fail on a database that is away.
func TestErrorsOfReadsComeOut(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t, jobs.Migrations)
	j := enqueue(t, pool, nil, "k")
	away, cancel := context.WithCancel(t.Context())
	cancel()
	in := func(f func(pgx.Tx) error) error { return pg.InTx(t.Context(), pool, f) }
	for name, call := range map[string]func() error{
		"get":     func() error { _, err := jobs.Get(away, pool, j.ID); return err },
		"steps":   func() error { _, err := jobs.Steps(away, pool, j.ID); return err },
		"wait":    func() error { _, err := jobs.Wait(away, pool, j.ID); return err },
		"waiting": func() error { _, err := jobs.Waiting(away, pool); return err },
		"prune":   func() error { _, err := jobs.NewRunner(pool, jobs.Config{}).Prune(away); return err },
		"cancel":  func() error { return in(func(tx pgx.Tx) error { _, err := jobs.Cancel(away, tx, "k"); return err }) },
		"enqueue": func() error {
			return in(func(tx pgx.Tx) error { _, err := jobs.Enqueue(away, tx, jobs.New{Kind: "a", Key: "b"}); return err })
		},
		"no kind": func() error {
			return in(func(tx pgx.Tx) error { _, err := jobs.Enqueue(t.Context(), tx, jobs.New{Key: "b"}); return err })
		},
		"arguments that are no JSON": func() error {
			return in(func(tx pgx.Tx) error {
				_, err := jobs.Enqueue(t.Context(), tx, jobs.New{Kind: "a", Key: "b", Args: func() {}})
				return err
			})
		},
	} {
		if err := call(); err == nil || errors.Is(err, fault.NotFound) {
			t.Errorf("%s: %v", name, err)
		}
	}
	late, stop := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer stop()
	if _, err := jobs.Wait(late, pool, j.ID); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a job that does not end: %v", err)
	}
}

// TestKeepByDefault checks how long finished jobs are kept when nothing is said.
func TestKeepByDefault(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t, jobs.Migrations)
	if _, err := pool.Exec(t.Context(), `
		INSERT INTO job (kind, key, args, state, finished_at)
		SELECT 'k', d::text, '{}', 'done', now() - d * interval '1 day' FROM unnest(ARRAY[1, 89, 91, 400]) d`); err != nil {
		t.Fatal(err)
	}
	if n, err := jobs.NewRunner(pool, jobs.Config{}).Prune(t.Context()); err != nil || n != 2 {
		t.Errorf("%d removed: %v", n, err)
	}
}

// TestWaitingWithoutShares checks the bound of jobs without a worker when there are no shares.
func TestWaitingWithoutShares(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		account, node float64
		want          int
	}{
		"none":     {0, 0, 4*4 + 4},
		"accounts": {0.5, 0, 4*4/2 + 2},
		"nodes":    {0, 0.5, 4*4/2 + 2},
		"all":      {1, 1, 4*4 + 4},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p := startPlant(t, 1, jobs.Config{Workers: 4, AccountShare: tt.account, NodeShare: tt.node, Poll: time.Second}, hangs)
				for other := range int32(40) { // jobs of one account on many nodes, and of many accounts on one node
					p.add(1, 100+other, 1)
				}
				for other := range int32(40) {
					if tt.node > 0 {
						p.add(100+other, 1, 1)
					}
				}
				if tt.node > 0 {
					p.cancelAccount(1)
				}
				time.Sleep(50 * time.Second)
				if n := p.running(); n != tt.want {
					t.Errorf("%d jobs run at once, want %d", n, tt.want)
				}
			})
		})
	}
}

// cancelAccount cancels the jobs of an account.
func (p *plant) cancelAccount(account int32) {
	var ids []int32
	for _, j := range p.m.Jobs() {
		if j.AccountID == account {
			ids = append(ids, j.ID)
		}
	}
	p.cancel(ids)
}
