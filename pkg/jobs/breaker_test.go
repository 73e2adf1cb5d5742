package jobs_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"slipway.dev/pkg/jobs"
)

// state returns the state and the reason of a job.
func (p *plant) state(id int32) (jobs.State, string) {
	for _, j := range p.m.Jobs() {
		if j.ID == id {
			return j.State, j.Reason
		}
	}
	return "", ""
}

// done returns how many of the jobs are done.
func (p *plant) done(ids []int32) (n int) {
	for _, id := range ids {
		if s, _ := p.state(id); s == jobs.Done {
			n++
		}
	}
	return n
}

// TestBreaker follows the breaker of a node whose steps time out: it opens, lets one probe through after each wait, which
// doubles, and closes when a probe succeeds. Another node is not concerned.
func TestBreaker(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var hung atomic.Bool
		hung.Store(true)
		var mu sync.Mutex
		var all []time.Duration
		tries := func() []time.Duration {
			mu.Lock()
			defer mu.Unlock()
			return slices.Clone(all)
		}
		start := time.Now()
		p := startPlant(t, 1, shared, func(ctx context.Context, run *jobs.Run) error {
			if run.NodeID != 1 {
				return nil
			}
			mu.Lock()
			all = append(all, time.Since(start))
			mu.Unlock()
			if hung.Load() {
				return hangs(ctx, run)
			}
			return nil
		})
		ids := p.add(7, 1, 3)
		time.Sleep(59 * time.Second)
		if b := p.replicas[0].Breakers(); len(b) != 0 || len(tries()) != 3 {
			t.Fatalf("before a time-out: %+v after %v", b, tries())
		}
		time.Sleep(2 * time.Second)
		if b := p.replicas[0].Breakers(); !slices.Equal(b, []jobs.Breaker{{NodeID: 1, Open: true}}) {
			t.Fatalf("after three time-outs: %+v", b)
		}
		late := p.add(8, 1, 5)
		other := p.add(7, 2, 1)
		time.Sleep(10 * time.Second)
		if p.done(other) != 1 || len(tries()) != 3 {
			t.Errorf("%d jobs of the other node are done, tried %v", p.done(other), tries())
		}
		for _, id := range append(ids, late...) {
			if s, reason := p.state(id); s != jobs.Queued || reason != "NODE_HANGS" {
				t.Errorf("job %d waits, and is %s with %q", id, s, reason)
			}
		}
		// Probes begin 30 s after the breaker opened, then 60 s, 120 s, 240 s, and 300 s after each time-out.
		time.Sleep(30*time.Second + 6*time.Minute + 5*time.Minute)
		var waits []time.Duration
		tried := tries()
		for i, at := range tried[3:] {
			waits = append(waits, (at - tried[max(i+2, 2)] - time.Minute).Round(2*time.Second))
		}
		if !slices.Equal(waits, []time.Duration{30 * time.Second, time.Minute, 2 * time.Minute, 4 * time.Minute}) {
			t.Errorf("probes after %v", waits)
		}
		hung.Store(false)
		time.Sleep(6 * time.Minute)
		if n := p.done(append(ids, late...)); n != 8 || len(p.replicas[0].Breakers()) != 0 {
			t.Errorf("%d of 8 jobs are done, %+v", n, p.replicas[0].Breakers())
		}
		for _, id := range ids {
			if s, reason := p.state(id); s != jobs.Done || reason != "" {
				t.Errorf("job %d is %s with %q", id, s, reason)
			}
		}
	})
}

// TestBreakerOfManySteps checks what opens and closes a breaker when jobs have steps of several kinds.
func TestBreakerOfManySteps(t *testing.T) {
	t.Parallel()
	const (
		fine = iota
		late
		fails
	)
	for _, tt := range []struct {
		name string
		play func(p *plant, r *jobs.Runner, disk, power *atomic.Int32)
		open []bool // the breakers at the end
	}{
		{"two time-outs", func(p *plant, _ *jobs.Runner, disk, _ *atomic.Int32) {
			disk.Store(late)
			p.kind("disk", 2)
			time.Sleep(61 * time.Second)
		}, []bool{false}},
		{"two time-outs, one after the other", func(p *plant, _ *jobs.Runner, disk, _ *atomic.Int32) {
			disk.Store(late)
			p.kind("disk", 1)
			time.Sleep(2*time.Minute + 5*time.Second)
		}, []bool{false}},
		{"three time-outs, one after the other", func(p *plant, _ *jobs.Runner, disk, _ *atomic.Int32) {
			disk.Store(late)
			p.kind("disk", 1)
			time.Sleep(3*time.Minute + 10*time.Second)
		}, []bool{true}},
		{"a success between them", func(p *plant, _ *jobs.Runner, disk, _ *atomic.Int32) {
			for range 3 {
				disk.Store(late)
				p.kind("disk", 2)
				time.Sleep(59 * time.Second)
				disk.Store(fine)
				time.Sleep(40 * time.Second)
			}
		}, nil},
		{"a success of another step between them", func(p *plant, _ *jobs.Runner, disk, _ *atomic.Int32) {
			disk.Store(late)
			for range 3 {
				p.kind("disk", 1)
				p.kind("power", 1)
				time.Sleep(61 * time.Second)
			}
		}, []bool{true}},
		{"other errors", func(p *plant, _ *jobs.Runner, disk, _ *atomic.Int32) {
			disk.Store(fails)
			p.kind("disk", 5)
			time.Sleep(10 * time.Minute)
		}, nil},
		{"time-outs apart from the node", func(p *plant, _ *jobs.Runner, _, _ *atomic.Int32) {
			p.kind("apart", 5)
			time.Sleep(10 * time.Minute)
		}, nil},
		{"probes that never meet the slow step", func(p *plant, _ *jobs.Runner, disk, _ *atomic.Int32) {
			disk.Store(late)
			ids := p.kind("disk", 3)
			time.Sleep(61 * time.Second)
			p.cancel(ids)
			p.kind("power", 9)
			time.Sleep(3 * time.Minute)
		}, nil},
		{"no job for an hour", func(p *plant, _ *jobs.Runner, disk, _ *atomic.Int32) {
			disk.Store(late)
			p.kind("once", 3)
			time.Sleep(62 * time.Minute)
		}, nil},
		{"no job for some minutes", func(p *plant, _ *jobs.Runner, disk, _ *atomic.Int32) {
			disk.Store(late)
			p.kind("once", 3)
			time.Sleep(59 * time.Minute)
		}, []bool{true}},
		{"an undo that times out", func(p *plant, _ *jobs.Runner, _, power *atomic.Int32) {
			power.Store(late)
			p.kind("undone", 3)
			time.Sleep(61 * time.Second)
		}, []bool{true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var disk, power atomic.Int32
				p := startPlant(t, 1, shared, healthy)
				p.kinds = func(r *jobs.Runner) {
					act := func(how *atomic.Int32) func(context.Context, *jobs.Run, args) error {
						return func(ctx context.Context, run *jobs.Run, _ args) error {
							switch how.Load() {
							case late:
								return hangs(ctx, run)
							case fails:
								return errors.New("no")
							}
							return nil
						}
					}
					ok, slow := new(atomic.Int32), new(atomic.Int32)
					slow.Store(late)
					for kind, s := range map[string]jobs.Step[args]{
						"disk":   {Do: act(&disk)},
						"once":   {Do: act(&disk)}, // fails with its first error
						"power":  {Do: act(ok)},
						"apart":  {Do: act(slow), Apart: true},
						"undone": {Do: func(context.Context, *jobs.Run, args) error { return jobs.Permanent(errors.New("no")) }, Undo: act(&power)},
					} {
						s.Name, s.Timeout = kind, time.Minute
						h := jobs.Handler[args]{Steps: []jobs.Step[args]{s}}
						if kind == "once" {
							h.Attempts = 1
						}
						jobs.Handle(r, kind, h)
					}
				}
				p.restart()
				r := p.replicas[0]
				tt.play(p, r, &disk, &power)
				var open []bool
				for _, b := range r.Breakers() {
					open = append(open, b.Open)
				}
				if fmt.Sprint(open) != fmt.Sprint(tt.open) {
					t.Errorf("%+v", r.Breakers())
				}
			})
		})
	}
}

// TestOneProbeAtATime has many jobs wait for a node: while its breaker is open one of them runs, and all run at once after.
func TestOneProbeAtATime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var hung atomic.Bool
		hung.Store(true)
		p := startPlant(t, 1, shared, func(ctx context.Context, run *jobs.Run) error {
			if hung.Load() {
				return hangs(ctx, run)
			}
			return healthy(ctx, run)
		})
		ids := p.add(0, 1, 40)
		time.Sleep(95 * time.Second) // the first 20 have timed out, and the first probe is under way
		if n := p.running(); n != 1 {
			t.Errorf("%d jobs run on a node with an open breaker", n)
		}
		hung.Store(false)
		time.Sleep(5 * time.Minute)
		if p.done(ids) != 40 {
			t.Errorf("%d of 40 are done", p.done(ids))
		}
	})
}
