package host

import (
	"testing"

	"slipway.dev/pkg/pg/pgtest"
	"slipway.dev/pkg/query"
	"slipway.dev/pkg/query/querytest"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/vm/internal/schema"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

func TestLists(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t, schema.Lines...)
	querytest.Check(t, pool, hostList, query.Scope{})
	querytest.Check(t, pool, hostList, own(7))
}

// TestHostCount: whatever is done to hosts, and whenever the changes are folded, the counter knows how many there are.
func TestHostCount(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t, schema.Lines...)
	exec := func(sql string, args ...any) {
		t.Helper()
		if _, err := pool.Exec(t.Context(), sql, args...); err != nil {
			t.Fatal(err)
		}
	}
	db := &unit.DB{Pool: pool}
	exec(`INSERT INTO cluster (name, domain_template) SELECT 'c' || i, '' FROM generate_series(1, 3) i`)
	exec(`INSERT INTO node (cluster_id, uuid, name, endpoint, cpu_number, cpu_model, ram_mib, storage_mib, storage_free_mib, hypervisor,
		accel, kernel_version, os_version, qemu_version, libvirt_version, boot_id, bridge)
		SELECT i, gen_random_uuid(), 'n', '', 1, '', 1, 1, 1, '', '', '', '', '', '', '', '' FROM generate_series(1, 3) i`)
	exec(`INSERT INTO os (name, state, min_ram_mib, min_disk_mib) VALUES ('o', 'importing', 1, 1)`)
	for i := range 30 {
		for _, sql := range []string{
			`INSERT INTO host (uuid, name, hostname, state, wanted, account_id, cluster_id, node_id, os_id, cpu_number, ram_mib, mac)
			 SELECT gen_random_uuid(), 'h', 'h', (ARRAY['active', 'stopped', 'creating'])[1 + g % 3], 'active', 1, 1 + g % 3, 1 + g % 3, 1, 1, 1,
			        ('0242' || lpad(to_hex($1::int * 1000 + g), 8, '0'))::macaddr FROM generate_series(0, 99) g`,
			`UPDATE host SET state = 'deleting' WHERE id % 7 = $1 % 7`,
			`UPDATE host SET cluster_id = 1, comment = 'moved' WHERE id % 11 = $1 % 11`,
			`DELETE FROM host WHERE state = 'deleting' AND id % 2 = $1 % 2`,
		} {
			exec(sql, i)
		}
		if err := fold(t.Context(), db, foldAt); err != nil {
			t.Fatal(err)
		}
		var wrong int
		if err := pool.QueryRow(t.Context(), `
			SELECT count(*) FROM (SELECT cluster_id, state, count(*) AS n FROM host GROUP BY 1, 2) h
			FULL JOIN (SELECT cluster_id, state, sum(n) AS n FROM host_count GROUP BY 1, 2) c USING (cluster_id, state)
			WHERE coalesce(h.n, 0) <> coalesce(c.n, 0)`).Scan(&wrong); err != nil || wrong > 0 {
			t.Fatalf("%d kinds are counted wrongly in round %d: %v", wrong, i, err)
		}
	}
	var rows int
	if err := pool.QueryRow(t.Context(), `SELECT count(*) FROM host_count`).Scan(&rows); err != nil || rows >= 520 {
		t.Errorf("%d rows are left unfolded: %v", rows, err)
	}
}
