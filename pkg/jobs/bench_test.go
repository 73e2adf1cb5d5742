package jobs_test

import (
	"context"
	"fmt"
	"os"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"slipway.dev/pkg/jobs"
	"slipway.dev/pkg/pg"
	"slipway.dev/pkg/pg/pgembed"
)

// durable returns a pool on a server that flushes every commit to disk, unlike the server for tests.
func durable(b *testing.B) *pgxpool.Pool {
	b.Helper()
	dir, err := os.MkdirTemp("", "jobs-bench-")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { os.RemoveAll(dir) })
	s, err := pgembed.Start(b.Context(), pgembed.Config{Dir: dir})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := s.Stop(context.Background()); err != nil {
			b.Error(err)
		}
	})
	pool, err := pg.Open(b.Context(), s.URL(), "bench")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(pool.Close)
	if err := pg.Migrate(b.Context(), pool, jobs.Migrations); err != nil {
		b.Fatal(err)
	}
	return pool
}

func benchRunner(b *testing.B, pool *pgxpool.Pool) *jobs.Runner {
	var h jobs.Handler[args]
	for i := range 4 {
		h.Steps = append(h.Steps, jobs.Step[args]{Name: fmt.Sprint(i), Do: func(context.Context, *jobs.Run, args) error { return nil }})
	}
	r := jobs.NewRunner(pool, jobs.Config{Name: "bench", Workers: 16})
	jobs.Handle(r, "work", h)
	run(b, r)
	return r
}

// BenchmarkFourSteps measures a job of four empty steps on durable storage, from its commit to its end.
func BenchmarkFourSteps(b *testing.B) {
	pool := durable(b)
	r := benchRunner(b, pool)
	var claim, all float64
	n := 0
	for b.Loop() {
		j := wait(b, pool, enqueue(b, pool, r, "k").ID)
		claim += j.StartedAt.Sub(j.CreatedAt).Seconds()
		all += j.FinishedAt.Sub(*j.StartedAt).Seconds()
		n++
	}
	b.ReportMetric(claim/float64(n)*1000, "ms-to-claim")
	b.ReportMetric(all/float64(n)*1000, "ms-to-run")
}

// BenchmarkThroughput measures the same for many keys at once.
func BenchmarkThroughput(b *testing.B) {
	pool := durable(b)
	r := benchRunner(b, pool)
	const batch = 200
	n := 0
	for b.Loop() {
		var last []int32
		for i := range batch {
			last = append(last, enqueue(b, pool, r, fmt.Sprint(i)).ID)
		}
		for _, id := range last {
			wait(b, pool, id)
		}
		n += batch
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "jobs/s")
}
