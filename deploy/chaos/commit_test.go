//go:build e2e

package chaos_test

import (
	"fmt"
	"testing"
	"time"

	"slipway.dev/pkg/faulty"
)

// TestUnknownCommit: the answers of a third of all commits are lost. A create that was stored keeps its addresses and
// becomes a host, although its client got an error.
func TestUnknownCommit(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	w.db.Rate, w.db.Commits = 1.0/12, true
	w.db.On()
	n, unknown := scale(40, 1000), 0
	for i := range n {
		if _, err := w.create(w.admin(), fmt.Sprintf("h%d", i)); err != nil {
			unknown++
		}
	}
	w.db.Off()
	for deadline := time.Now().Add(2 * time.Minute); w.count("vm", `SELECT count(*) FROM job WHERE finished_at IS NULL`) > 0; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("jobs do not end")
		}
	}
	w.rest(time.Minute)
	failed := w.count("vm", `SELECT count(*) FROM job WHERE kind = 'host_create' AND state <> 'done'`)
	stored := w.count("vm", `SELECT count(*) FROM host WHERE state = 'active'`)
	broken := w.db.Count(faulty.Before) + w.db.Count(faulty.After) + w.db.Count(faulty.Delay) + w.db.Count(faulty.Twice)
	t.Logf("%d creates, %d answers unknown, %d hosts, %d commits that nobody heard of", n, unknown, stored, broken)
	if failed > 0 || stored < n-unknown {
		t.Errorf("seed %d: %d creates failed, %d hosts are active, %d were promised", w.seed, failed, stored, n-unknown)
	}
	if unknown == 0 || broken < int64(n)/4 {
		t.Errorf("too few faults to prove anything: %d, %d unknown", broken, unknown)
	}
}
