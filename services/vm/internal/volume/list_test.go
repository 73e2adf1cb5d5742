package volume

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"slipway.dev/pkg/pg/pgtest"
	"slipway.dev/pkg/query"
	"slipway.dev/pkg/query/querytest"
	"slipway.dev/services/vm/internal/listing"
	"slipway.dev/services/vm/internal/schema"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

func TestLists(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t, schema.Lines...)
	querytest.Check(t, pool, diskList, query.Scope{})
	querytest.Check(t, pool, everyDisk, query.Scope{})
	querytest.Check(t, pool, diskList, listing.Own("d.account_id", 7))
}

// TestPageOfAll: the first page of all disks reads as many disks as it has, however many there are.
func TestPageOfAll(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t, schema.Lines...)
	for _, sql := range []string{
		`INSERT INTO cluster (name, domain_template) VALUES ('c', '')`,
		`INSERT INTO node (cluster_id, uuid, name, endpoint, cpu_number, cpu_model, ram_mib, storage_mib, storage_free_mib, hypervisor,
			accel, kernel_version, os_version, qemu_version, libvirt_version, boot_id, bridge)
		 SELECT 1, gen_random_uuid(), 'n', '', 1, '', 1, 1, 1, '', '', '', '', '', '', '', '' FROM generate_series(1, 3) i`,
		`INSERT INTO os (name, state, min_ram_mib, min_disk_mib) VALUES ('o', 'importing', 1, 1)`,
		`INSERT INTO host (uuid, name, hostname, state, wanted, account_id, cluster_id, node_id, os_id, cpu_number, ram_mib, mac)
		 SELECT gen_random_uuid(), 'h', 'h', 'active', 'active', g % 100, 1, 1 + g % 3, 1, 1, 1,
			('0242' || lpad(to_hex(g), 8, '0'))::macaddr FROM generate_series(1, 20000) g`,
		`INSERT INTO disk (host_id, name, size_mib, boot_order) SELECT id, 'disk0', 10, 1 FROM host`,
		`INSERT INTO disk (name, size_mib, boot_order, uuid, account_id, node_id)
		 SELECT 'v', 10, 0, gen_random_uuid(), g % 100, 1 FROM generate_series(1, 2000) g`,
		`ANALYZE`,
	} {
		if _, err := pool.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	sql := `EXPLAIN SELECT ` + everyDisk.Columns + ` FROM ` + everyDisk.From
	for _, j := range everyDisk.Joins {
		sql += " " + j.SQL
	}
	rows, err := pool.Query(t.Context(), sql+` ORDER BY d.id LIMIT 50`)
	if err != nil {
		t.Fatal(err)
	}
	plan, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if text := strings.Join(plan, "\n"); err != nil || strings.Contains(text, "Sort") || !strings.Contains(text, "disk_pkey") {
		t.Errorf("%v\n%s", err, text)
	}
}
