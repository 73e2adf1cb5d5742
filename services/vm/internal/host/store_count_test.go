package host

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/google/uuid"

	"slipway.dev/pkg/pg"
	"slipway.dev/pkg/pg/pgtest"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/vm/internal/schema"
)

// wrong counts the numbers of hosts that differ from the hosts, all in the snapshot of one statement.
const wrong = `
	SELECT (SELECT count(*) FROM (SELECT cluster_id, state, sum(n) AS n FROM host_count GROUP BY 1, 2) c
	        FULL JOIN (SELECT cluster_id, state, count(*) AS n FROM host GROUP BY 1, 2) h USING (cluster_id, state)
	        WHERE coalesce(c.n, 0) <> coalesce(h.n, 0)) +
	       (SELECT count(*) FROM (SELECT account_id, cluster_id, state, sum(n) AS n FROM host_count_of GROUP BY 1, 2, 3) c
	        FULL JOIN (SELECT account_id, cluster_id, state, count(*) AS n FROM host GROUP BY 1, 2, 3) h USING (account_id, cluster_id, state)
	        WHERE coalesce(c.n, 0) <> coalesce(h.n, 0))`

// TestNumbersAreExact: while hosts come, change and go, and changes are folded, the numbers are right at every moment.
func TestNumbersAreExact(t *testing.T) {
	t.Parallel()
	db := &unit.DB{Pool: pgtest.New(t, schema.Lines...)}
	if _, err := db.Pool.Exec(t.Context(), `
		INSERT INTO cluster (name, domain_template) VALUES ('c', '{name}'), ('d', '{name}');
		INSERT INTO node (cluster_id, uuid, name, endpoint, cpu_number, cpu_model, ram_mib, storage_mib, storage_free_mib, hypervisor,
			accel, kernel_version, os_version, qemu_version, libvirt_version, boot_id, bridge)
		VALUES (1, gen_random_uuid(), 'n', 'e', 1, '', 1000, 1000, 1000, '', '', '', '', '', '', '', '');
		INSERT INTO os (name, sha256, state, min_ram_mib, min_disk_mib) VALUES ('tiny', 'abc', 'active', 1, 1)`); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var writers, others sync.WaitGroup
	for w := range 4 {
		writers.Go(func() { churn(t, db, rand.New(rand.NewPCG(uint64(w), 1))) })
	}
	folds, looks := 0, 0
	others.Go(func() {
		for ; ctx.Err() == nil; folds++ {
			if err := fold(t.Context(), db, 3); err != nil {
				t.Error(err)
			}
		}
	})
	others.Go(func() {
		for ; ctx.Err() == nil; looks++ {
			checkNumbers(t, db)
		}
	})
	writers.Wait()
	stop()
	others.Wait()
	if checkNumbers(t, db); folds == 0 || looks == 0 {
		t.Errorf("%d folds, %d looks", folds, looks)
	}
	if err := fold(t.Context(), db, 0); err != nil {
		t.Fatal(err)
	}
	checkNumbers(t, db)
	var left int
	if err := db.Pool.QueryRow(t.Context(), `
		SELECT (SELECT count(*) FROM host_change) + (SELECT count(*) FROM host_share WHERE n = 0)`).Scan(&left); err != nil || left != 0 {
		t.Errorf("%d rows are not folded: %v", left, err)
	}
}

func checkNumbers(t *testing.T, db *unit.DB) {
	t.Helper()
	var n int
	if err := db.Pool.QueryRow(t.Context(), wrong).Scan(&n); err != nil || n != 0 {
		t.Errorf("%d numbers are wrong: %v", n, err)
	}
}

// churn makes, changes and removes hosts of some accounts.
func churn(t *testing.T, db *unit.DB, random *rand.Rand) {
	states := []string{"creating", "active", "stopped"}
	for range 60 {
		id := uuid.New()
		_, err := db.Pool.Exec(t.Context(), `
			INSERT INTO host (uuid, name, hostname, state, wanted, account_id, cluster_id, node_id, os_id, cpu_number, ram_mib, mac)
			VALUES ($1, 'h', 'h', $2, 'active', $3, $4, 1, 1, 1, 1, $5)`,
			id, states[random.IntN(3)], random.IntN(3), 1+random.IntN(2), MAC(id))
		for _, sql := range []string{
			fmt.Sprintf(`UPDATE host SET state = '%s' WHERE account_id = %d`, states[random.IntN(3)], random.IntN(3)),
			fmt.Sprintf(`UPDATE host SET account_id = %d WHERE uuid = '%s'`, random.IntN(3), id),
			fmt.Sprintf(`DELETE FROM host WHERE uuid = '%s' AND %d > 0`, id, random.IntN(2)),
		} {
			if err == nil {
				_, err = db.Pool.Exec(t.Context(), sql)
			}
		}
		if code := pg.Code(err); err != nil && code != "40P01" { // a deadlock of two that change many
			t.Error(err)
			return
		}
	}
}
