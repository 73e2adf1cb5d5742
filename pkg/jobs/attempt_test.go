package jobs_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel"
	otelcodes "go.opentelemetry.io/otel/codes"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace/noop"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/jobs"
	"slipway.dev/pkg/jobs/jobsim"
	"slipway.dev/pkg/pg/pgtest"
)

// TestCancelIsSeenAtOnce: a runner that is poked ends the step of a canceled job at once, and not with its next renewal.
func TestCancelIsSeenAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ended := make(chan time.Time, 1)
		p := startPlant(t, 1, shared, func(ctx context.Context, _ *jobs.Run) error {
			<-ctx.Done()
			ended <- time.Now()
			return ctx.Err()
		})
		ids := p.add(7, 1, 1)
		time.Sleep(300 * time.Millisecond)
		at := time.Now()
		p.cancel(ids)
		if took := (<-ended).Sub(at); took > 100*time.Millisecond {
			t.Errorf("seen after %s", took)
		}
	})
}

// TestRecordThatFailsOnce has each write of a job's own rows fail once, before or after its effect: the job is taken up again soon,
// without a wait for the end of its lease, and ends as it would have.
func TestRecordThatFailsOnce(t *testing.T) {
	t.Parallel()
	for _, verb := range []string{"advance", "turn", "undone", "end"} {
		for n := 1; n <= 3; n++ {
			for _, before := range []bool{true, false} {
				for _, refused := range []bool{true, false} {
					t.Run(fmt.Sprint(verb, " ", n, " before ", before, " refused ", refused), func(t *testing.T) {
						t.Parallel()
						synctest.Test(t, func(t *testing.T) { recordFailsOnce(t, verb, n, before, refused) })
					})
				}
			}
		}
	}
}

func recordFailsOnce(t *testing.T, verb string, n int, before, refused bool) {
	m, d := jobsim.New(time.Now), diary{}
	var mu sync.Mutex
	left := n
	r := jobsim.NewRunner(m, func(_ context.Context, name string, do func() error) error {
		time.Sleep(time.Millisecond)
		op, _, _ := strings.Cut(name, " ")
		mu.Lock()
		if op == verb {
			left--
		}
		fails := op == verb && left == 0
		mu.Unlock()
		if fails && before {
			return errCut
		}
		if err := do(); err != nil || !fails {
			return err
		}
		return errCut
	}, jobs.Config{Name: "r", Lease: time.Hour, Poll: 250 * time.Millisecond})
	do := func(context.Context, *jobs.Run) error { return nil }
	if refused {
		do = func(context.Context, *jobs.Run) error { return fault.NotFound }
	}
	jobs.Handle(r, "work", d.handler(d.step("a", nil), d.step("b", nil), d.step("c", do)))
	stop := run(t, r)
	var id int32
	if err := m.Do(func(tx *jobsim.Tx) error {
		j, err := tx.Enqueue(jobs.New{Kind: "work", Key: "k", Args: args{"x"}})
		id = j.ID
		return err
	}); err != nil {
		t.Fatal(err)
	}
	r.Poke()
	time.Sleep(20 * time.Second)
	stop()
	want := jobs.Done
	if refused {
		want = jobs.Failed
	}
	all := m.Jobs()
	if len(all) != 1 || all[0].ID != id || all[0].State != want {
		t.Errorf("%+v, want %s; %s", all, want, &d)
	}
	checkUndone(t, d.String(), refused)
}

// checkUndone fails the test unless all steps are done, and undone in reverse where the job failed, with repeats at most.
func checkUndone(t *testing.T, diary string, failed bool) {
	t.Helper()
	var steps []string
	for word := range strings.FieldsSeq(diary) {
		if word[0] == '+' || word[0] == '-' {
			steps = append(steps, word)
		}
	}
	want := "+a +b +c"
	if failed {
		want += " -c -b -a"
	}
	if got := strings.Join(slices.Compact(steps), " "); got != want {
		t.Errorf("%s, want %s", diary, want)
	}
}

// TestUnreadableJob: a job that cannot be read is an error, and no job without content.
func TestUnreadableJob(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t, jobs.Migrations)
	j := enqueue(t, pool, nil, "k")
	if _, err := pool.Exec(t.Context(), `ALTER TABLE job ALTER request_id DROP NOT NULL; UPDATE job SET request_id = NULL`); err != nil {
		t.Fatal(err)
	}
	if got, err := jobs.Get(t.Context(), pool, j.ID); err == nil || errors.Is(err, fault.NotFound) {
		t.Errorf("%+v %v", got, err)
	}
	if got, err := jobs.Wait(t.Context(), pool, j.ID); err == nil {
		t.Errorf("%+v", got)
	}
}

// TestStepsAreTraced: each step of each attempt leaves a span, with its error.
func TestStepsAreTraced(t *testing.T) {
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
	spans := tracetest.NewInMemoryExporter()
	otel.SetTracerProvider(sdk.NewTracerProvider(sdk.WithSyncer(spans)))
	defer otel.SetTracerProvider(noop.NewTracerProvider())
	synctest.Test(t, func(t *testing.T) {
		tries := 0
		p := startPlant(t, 1, shared, func(context.Context, *jobs.Run) error {
			if tries++; tries == 1 {
				return errCut
			}
			return nil
		})
		p.add(7, 1, 1)
		time.Sleep(10 * time.Second)
	})
	ends := map[string]int{}
	for _, s := range spans.GetSpans() {
		ends[fmt.Sprint(s.Name, " ", s.Status.Code == otelcodes.Error)]++
	}
	if ends["disk true"] != 1 || ends["disk false"] != 1 || ends["work true"] != 1 || ends["work false"] != 1 {
		t.Errorf("spans: %v", ends)
	}
}
