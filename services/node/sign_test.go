package node

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"slipway.dev/pkg/fault"
)

// desk is a vm that takes signs of life: four at once, each for a while; when many wait it refuses.
type desk struct {
	slots chan struct{}

	mu      sync.Mutex
	open    bool
	waiting int
	tries   int          // by agents that were not heard since it opened again
	heard   map[int]bool // since then
}

func (d *desk) sign(agent int) (time.Duration, error) {
	if !d.enter(agent) {
		return 0, fault.Unavailable
	}
	d.slots <- struct{}{}
	time.Sleep(50 * time.Millisecond) // the simulated clock's: what a transaction takes
	<-d.slots
	d.mu.Lock()
	defer d.mu.Unlock()
	d.waiting--
	d.heard[agent] = true
	return 10 * time.Second, nil
}

func (d *desk) enter(agent int) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.open && !d.heard[agent] {
		d.tries++
	}
	if !d.open || d.waiting > 100 {
		return false
	}
	d.waiting++
	return true
}

func (d *desk) set(open bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.open, d.tries, d.heard = open, 0, map[int]bool{}
}

func (d *desk) state() (tries, heard int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.tries, len(d.heard)
}

const agents = 500

// comeBack has 500 agents lose vm for ten minutes, and returns how many signs they gave until vm had heard each of them again.
func comeBack(t *testing.T, random func(*rand.Rand) func(time.Duration) time.Duration) (tries int, took time.Duration) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		d := &desk{slots: make(chan struct{}, 4), open: true, heard: map[int]bool{}}
		var all sync.WaitGroup
		for i := range agents {
			p := &pace{random: random(rand.New(rand.NewPCG(uint64(i), 7)))}
			all.Go(func() {
				keepSigning(ctx, func(context.Context) (time.Duration, error) { return d.sign(i) }, p, slog.New(slog.DiscardHandler))
			})
		}
		time.Sleep(time.Minute)
		d.set(false)
		time.Sleep(10 * time.Minute)
		d.set(true)
		back := time.Now()
		for heard := 0; heard < agents; tries, heard = d.state() {
			time.Sleep(100 * time.Millisecond)
		}
		took = time.Since(back)
		stop()
		all.Wait()
	})
	return tries, took
}

// TestAgentsComeBackApart: the clock is simulated, so that nothing here measures the machine.
func TestAgentsComeBackApart(t *testing.T) {
	t.Parallel()
	tries, took := comeBack(t, func(r *rand.Rand) func(time.Duration) time.Duration {
		return func(below time.Duration) time.Duration { return time.Duration(r.Int64N(int64(below))) }
	})
	if tries > agents*11/10 || took > time.Minute {
		t.Errorf("%d signs for %d agents, in %s", tries, agents, took)
	}
	// The planted bug: agents that all go by the clock on the wall.
	if tries, _ := comeBack(t, func(*rand.Rand) func(time.Duration) time.Duration {
		return func(below time.Duration) time.Duration {
			now := time.Now()
			return now.Truncate(below).Add(below).Sub(now)
		}
	}); tries <= agents*11/10 {
		t.Errorf("agents that come all at once are not noticed: %d signs", tries)
	}
}
