package jobs_test

import (
	"encoding/json"
	"testing"

	"slipway.dev/pkg/jobs"
	"slipway.dev/pkg/pg/pgtest"
)

// TestClaimReadsWhatItTakes checks that a claim reads the jobs that it takes and not all due jobs, whatever the plan.
func TestClaimReadsWhatItTakes(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t, jobs.Migrations)
	if _, err := pool.Exec(t.Context(), `
		INSERT INTO job (kind, key, args) SELECT 'work', 'host/' || i, '{}' FROM generate_series(1, 5000) i`); err != nil {
		t.Fatal(err)
	}
	read := func() float64 {
		t.Helper()
		var text []byte
		if err := pool.QueryRow(t.Context(), `
			EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) SELECT * FROM job_claim(4, '{work}', '0', 0, 0, '{}', '{}', '{}', '{9,9,9}', '{}', '{}')`).Scan(&text); err != nil {
			t.Fatal(err)
		}
		var plans []struct {
			Plan struct {
				Hit  float64 `json:"Shared Hit Blocks"`
				Read float64 `json:"Shared Read Blocks"`
				Rows float64 `json:"Actual Rows"`
			}
		}
		if err := json.Unmarshal(text, &plans); err != nil || plans[0].Plan.Rows != 4 {
			t.Fatalf("%v %s", err, text)
		}
		return plans[0].Plan.Hit + plans[0].Plan.Read
	}
	read() // the first also reads the catalogue
	for _, statistics := range []string{"", "ANALYZE job"} {
		if _, err := pool.Exec(t.Context(), statistics); err != nil {
			t.Fatal(err)
		}
		if n := read(); n > 300 {
			t.Errorf("after %q four of 5,000 due jobs cost %v pages", statistics, n)
		}
	}
}
