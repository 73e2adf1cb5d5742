package address

import (
	"context"
	"testing"
	"time"

	"github.com/google/uuid"

	"slipway.dev/pkg/unit"
)

// TestEveryClaimOfABatchIsAnswered: more claims wait than a batch takes and than there are free addresses. Each is answered, and
// nothing of them is kept.
func TestEveryClaimOfABatchIsAnswered(t *testing.T) {
	t.Parallel()
	db := withAddresses(t)
	b := newBatcher(&unit.DB{Pool: db})
	k := batchKey{cluster: 1, lapse: time.Minute}
	claims := make([]*batchedClaim, 2*maxBatch+1)
	for i := range claims {
		claims[i] = &batchedClaim{owner: uuid.NewString(), done: make(chan struct{})}
	}
	b.queue[k], b.running[k] = claims, 1
	b.drain(t.Context(), k)
	got := 0
	for i, c := range claims {
		select {
		case <-c.done:
		default:
			t.Fatalf("claim %d is not answered", i)
		}
		if c.got != nil {
			got++
		}
	}
	if got != 6 || len(b.queue) > 0 || len(b.running) > 0 {
		t.Errorf("%d of 6 free addresses were given, %v waits, %v runs", got, b.queue, b.running)
	}
}

// TestOverdue: an address is overdue a minute after the end of its reservation.
func TestOverdue(t *testing.T) {
	t.Parallel()
	db := withAddresses(t)
	for until, want := range map[string]int{"-2 min": 2, "-30 s": 0, "30 s": 0, "10 min": 0} {
		if _, err := db.Exec(t.Context(), `UPDATE address SET until = now() + $2::interval WHERE owner = $1`, holder, until); err != nil {
			t.Fatal(err)
		}
		list, err := overdue(t.Context(), &unit.DB{Pool: db})
		if err != nil || len(list) != want {
			t.Errorf("until %s from now: %v %v", until, list, err)
		}
		if len(list) > 0 && (list[0].Kind != "address_overdue" || list[0].Object[:8] != "address ") {
			t.Errorf("%+v", list[0])
		}
	}
}

// TestSweepWaitsForNoOther: the sweep leaves out an address that another unit of work has locked, and frees the others.
func TestSweepWaitsForNoOther(t *testing.T) {
	t.Parallel()
	db := withAddresses(t)
	other, err := db.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer other.Rollback(context.WithoutCancel(t.Context()))
	if _, err := other.Exec(t.Context(), `SELECT FROM address WHERE ip = '192.0.2.4' FOR UPDATE`); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithTimeout(t.Context(), time.Minute) // for a sweep that waits
	defer stop()
	n := 0
	err = (&unit.DB{Pool: db}).InTx(ctx, func(tx *unit.Tx) (err error) {
		n, err = freeDue(ctx, tx)
		return err
	})
	if err != nil || n != 1 {
		t.Errorf("%d freed, %v", n, err)
	}
}
