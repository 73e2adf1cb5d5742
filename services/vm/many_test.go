package vm_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/google/uuid"

	vmpb "slipway.dev/proto/vm/v3"
)

// TestSignsOfLifeDoNotStarveLeases has 500 nodes come back at once, twice, while a job is being carried out.
func TestSignsOfLifeDoNotStarveLeases(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	reached, hold := make(chan struct{}), make(chan struct{})
	w.agent.with(func() { w.agent.hold, w.agent.reached = hold, reached })
	c := w.create(w.admin(), wish("meanwhile"))
	<-reached
	ids := make([]string, 500)
	for i := range ids {
		ids[i] = uuid.NewString()
	}
	for _, boot := range []string{"boot-1", "boot-2"} {
		var all sync.WaitGroup
		for i, id := range ids {
			all.Go(func() {
				if _, err := w.sign(func(r *vmpb.RegisterNodeRequest) {
					r.Description.Uuid, r.Description.BootId, r.Endpoint = id, boot, fmt.Sprint("node", i, ":1")
				}); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
	}
	close(hold)
	if s := w.done(c.GetTask()); s != "complete" {
		t.Errorf("the job is %s", s)
	}
	var attempts, lost, nodes int
	if err := w.deps.Pool.QueryRow(t.Context(), `
		SELECT attempt, lost, (SELECT count(*) FROM node) FROM job WHERE id = $1`, c.GetTask()).
		Scan(&attempts, &lost, &nodes); err != nil {
		t.Fatal(err)
	}
	if attempts != 1 || lost != 0 || nodes != 501 {
		t.Errorf("%d attempts, %d lost leases, %d nodes", attempts, lost, nodes)
	}
	w.looks() // vm goes round all of them
}
