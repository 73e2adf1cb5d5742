package jobs_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"slipway.dev/pkg/jobs"
	"slipway.dev/pkg/jobs/jobsim"
)

var errCut = errors.New("the database is away")

// cutDatabase is a database that is away after the n-th call of a name. Calls take a second to arrive, answers two.
type cutDatabase struct {
	name string

	mu   sync.Mutex
	n    int
	away bool
	sent time.Time // when the last call of the name that arrived was sent
}

func (c *cutDatabase) intercept(_ context.Context, name string, do func() error) error {
	sent := time.Now()
	verb, _, _ := strings.Cut(name, " ")
	if verb == "steps" {
		return do() // only reads
	}
	c.mu.Lock()
	away := c.away
	if verb == c.name && !away {
		c.n--
		c.away = c.n == 0
		c.sent = sent
	}
	c.mu.Unlock()
	if away {
		return errCut
	}
	time.Sleep(time.Second)
	err := do()
	time.Sleep(2 * time.Second)
	return err
}

// TestLeaseIsBelievedNoLongerThanItLasts takes the database away after each of the calls that begin or renew a lease: the
// step that runs then stops when the lease has ended at the database, counted from the moment in which the call was
// sent, and not earlier.
func TestLeaseIsBelievedNoLongerThanItLasts(t *testing.T) {
	t.Parallel()
	const lease = 30 * time.Second
	for _, tt := range []struct {
		call   string
		n      int
		blocks string // the step that waits for the end of its context
	}{
		{"advance", 1, "+a"},
		{"advance", 2, "+b"},
		{"renew", 1, "+a"},
		{"renew", 7, "+a"},
		{"turn", 1, "-b"},
		{"undone", 1, "-a"},
		{"claim", 2, "-b"}, // the job was put back in the middle of its undo
	} {
		t.Run(fmt.Sprint(tt.call, tt.n), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				db := &cutDatabase{name: tt.call, n: tt.n}
				m := jobsim.New(time.Now)
				r := jobsim.NewRunner(m, db.intercept, jobs.Config{Name: "w", Lease: lease, Poll: time.Hour, Patience: time.Hour})
				var ended time.Time
				var cause error
				act := func(what string) func(context.Context, *jobs.Run, args) error {
					tries := 0
					return func(ctx context.Context, _ *jobs.Run, _ args) error {
						if tries++; tt.call == "claim" && what == "-b" && tries == 1 {
							return errors.New("once more")
						}
						if what == tt.blocks {
							<-ctx.Done()
							ended, cause = time.Now(), context.Cause(ctx)
							return ctx.Err()
						}
						if what == "+b" {
							return jobs.Permanent(errors.New("no"))
						}
						return nil
					}
				}
				h := jobs.Handler[args]{Backoff: time.Millisecond, MaxBackoff: time.Millisecond}
				for _, name := range []string{"a", "b"} {
					h.Steps = append(h.Steps, jobs.Step[args]{Name: name, Do: act("+" + name), Undo: act("-" + name), Timeout: time.Hour})
				}
				jobs.Handle(r, "work", h)
				if err := m.Do(func(tx *jobsim.Tx) error {
					_, err := tx.Enqueue(jobs.New{Kind: "work", Key: "k"})
					return err
				}); err != nil {
					t.Fatal(err)
				}
				ctx, stop := context.WithTimeout(t.Context(), 10*time.Minute)
				defer stop()
				if err := r.Run(ctx); err != nil {
					t.Error(err)
				}
				if !errors.Is(cause, jobs.ErrLeaseLost) || !ended.Equal(db.sent.Add(lease)) {
					t.Errorf("the step stopped %s after the call was sent, by %v", ended.Sub(db.sent), cause)
				}
			})
		})
	}
}
