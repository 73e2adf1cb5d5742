package tables_test

import (
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"slipway.dev/pkg/jobs"
	"slipway.dev/pkg/jobs/internal/backend"
	"slipway.dev/pkg/jobs/internal/tables"
	"slipway.dev/pkg/pg/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// claimOf returns a claim of up to limit jobs of kind work, without bounds.
func claimOf(limit int) backend.Claim {
	return backend.Claim{Limit: limit, Name: "me", Lease: time.Hour, Kinds: []string{"work"}}
}

// TestClaimsAtOnce has many claimers want the same jobs at the same time. A job that another one has claimed, put back
// for later, or ended since it was seen is left alone: no job is leased twice.
func TestClaimsAtOnce(t *testing.T) {
	t.Parallel()
	const claimers, made = 8, 600
	pool := pgtest.New(t, jobs.Migrations)
	if _, err := pool.Exec(t.Context(), `
		INSERT INTO job (kind, key, args, run_at) SELECT 'work', 'k' || i, '{}', now() - interval '1 h'
		FROM generate_series(1, $1) i`, made); err != nil {
		t.Fatal(err)
	}
	b := tables.New(pool)
	var mu sync.Mutex
	leases := map[int32]int{}
	var all sync.WaitGroup
	begin := make(chan struct{})
	for i := range claimers {
		all.Go(func() {
			<-begin
			for {
				got, err := b.Claim(t.Context(), claimOf(1+rand.N(8)))
				if err != nil {
					t.Error(err)
				}
				if err != nil || len(got) == 0 {
					return
				}
				mu.Lock()
				for _, c := range got {
					leases[c.ID]++
				}
				mu.Unlock()
				for _, c := range got {
					l := backend.Lease{ID: c.ID, Fence: c.Fence}
					switch (i + int(c.ID)) % 3 {
					case 0: // stays leased
					case 1:
						err = b.Release(t.Context(), l, 0, backend.Release{After: time.Hour})
					case 2:
						err = b.GiveUp(t.Context(), l, backend.ErrCanceled)
					}
					if err != nil {
						t.Errorf("job %d: %v", c.ID, err)
					}
				}
			}
		})
	}
	close(begin)
	all.Wait()
	for id, n := range leases {
		if n != 1 {
			t.Errorf("job %d was leased %d times", id, n)
		}
	}
	if len(leases) != made {
		t.Errorf("%d of %d jobs were leased", len(leases), made)
	}
}
