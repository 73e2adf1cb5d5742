//go:build e2e

// Package chaos injects faults into a whole installation and checks that it recovers: records agree with reality, no
// accepted request is lost, nothing is done twice.
package chaos_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/pkg/faulty"
)

// accepted is a request with a successful answer: it must be completed.
type accepted struct {
	host, task int32
	gone       bool // a delete
}

// TestFaults: creates, power and deletes while each write to PostgreSQL or NATS and each call between services fails
// before it is done, after it was done, late or is done twice. Afterwards every accepted request has ended, and
// records agree with reality. Requests without an answer were carried out completely or not at all.
func TestFaults(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		rate float64
	}{{"calm", 0}, {"storm", 0.05}} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, max(tt.rate, 1e-9))
			if tt.rate > 0 {
				w.storm()
			}
			clients, rounds := 8, scale(18, 300)
			var mu sync.Mutex
			var all []accepted
			refused := 0
			var wg sync.WaitGroup
			for c := range clients {
				wg.Go(func() {
					for r := range rounds {
						got, lost := w.life(fmt.Sprintf("h%d-%d", c, r), r%3)
						mu.Lock()
						all, refused = append(all, got...), refused+lost
						mu.Unlock()
					}
				})
			}
			wg.Wait()
			w.calm()
			hosts := w.settle(all)
			w.rest(time.Minute)
			if n := w.count("vm", `SELECT count(*) FROM (SELECT FROM host GROUP BY name HAVING count(*) > 1) x`); n > 0 {
				t.Errorf("%d names stand for more than one host", n)
			}
			t.Logf("%d accepted, %d refused or unknown, %d hosts stay; %d, %d and %d faults of database, bus and calls", len(all), refused, hosts,
				faults(w.db), faults(w.wire), faults(w.calls))
			if len(all) < clients*rounds/2 {
				t.Errorf("too little traffic to prove anything: %d accepted", len(all))
			}
			if tt.rate > 0 && (faults(w.db) < 60 || faults(w.calls) < 30 || faults(w.wire) < 1 || refused == 0) {
				t.Errorf("too few faults to prove anything: %d, %d, %d", faults(w.db), faults(w.calls), faults(w.wire))
			}
			if tt.rate == 0 && (refused > 0 || hosts != clients*rounds*2/3) {
				t.Errorf("without faults %d were refused and %d hosts stay", refused, hosts)
			}
		})
	}
}

func faults(p *faulty.Plan) int64 { return p.Count(faulty.Before) + p.Count(faulty.After) }

// life makes a host and does something to it: kind 0 leaves it, 1 stops and starts it, 2 deletes it.
func (w *world) life(name string, kind int) (all []accepted, lost int) {
	made, err := w.create(w.admin(), name)
	if err != nil {
		return nil, 1
	}
	all = append(all, accepted{host: made.GetId(), task: made.GetTask()})
	switch kind {
	case 1:
		if op, err := w.hosts.StopHost(w.admin(), &vmpb.StopHostRequest{Id: made.GetId(), Force: true}); err != nil {
			lost++
		} else {
			all = append(all, accepted{host: made.GetId(), task: op.GetTask()})
		}
		if op, err := w.hosts.StartHost(w.admin(), &vmpb.StartHostRequest{Id: made.GetId()}); err != nil {
			lost++
		} else {
			all = append(all, accepted{host: made.GetId(), task: op.GetTask()})
		}
	case 2:
		if op, err := w.hosts.DeleteHost(w.admin(), &vmpb.DeleteHostRequest{Id: made.GetId()}); err != nil {
			lost++
		} else {
			all = append(all, accepted{host: made.GetId(), task: op.GetTask(), gone: true})
		}
	}
	return all, lost
}

// settle waits for the end of all that was accepted and returns how many hosts there are.
func (w *world) settle(all []accepted) int {
	w.Helper()
	for _, a := range all {
		status := w.end(a.task, 2*time.Minute)
		if a.gone && (status != "done" || w.count("vm", `SELECT count(*) FROM host WHERE id = $1`, a.host) > 0) {
			w.Errorf("seed %d: the delete of host %d is %s", w.seed, a.host, status)
		}
	}
	for deadline := time.Now().Add(2 * time.Minute); w.count("vm", `SELECT count(*) FROM job WHERE finished_at IS NULL`) > 0; {
		if time.Now().After(deadline) {
			w.Fatalf("seed %d: jobs do not end", w.seed)
		}
		time.Sleep(20 * time.Millisecond) // between two looks
	}
	return w.count("vm", `SELECT count(*) FROM host`)
}
