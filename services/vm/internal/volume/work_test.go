package volume

import (
	"context"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/jobs"
	"slipway.dev/pkg/pg/pgtest"
	"slipway.dev/services/vm/internal/machine"
	"slipway.dev/services/vm/internal/schema"
)

// TestEndsAreRecorded: the resizing of a disk, with a host or without, ends with the error of whatever cannot be recorded, and is
// recorded again then.
func TestEndsAreRecorded(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t, schema.Lines...)
	for _, sql := range []string{
		`INSERT INTO cluster (name, domain_template) VALUES ('c', '')`,
		`INSERT INTO node (cluster_id, uuid, name, endpoint, cpu_number, cpu_model, ram_mib, storage_mib, storage_allocated, storage_free_mib, hypervisor,
			accel, kernel_version, os_version, qemu_version, libvirt_version, boot_id, bridge)
		 VALUES (1, gen_random_uuid(), 'n', '', 1, '', 1, 20, 20, 1, '', '', '', '', '', '', '', '')`,
		`INSERT INTO os (name, state, min_ram_mib, min_disk_mib) VALUES ('o', 'importing', 1, 1)`,
		`INSERT INTO host (uuid, name, hostname, state, wanted, account_id, cluster_id, node_id, os_id, cpu_number, ram_mib, mac)
		 VALUES (gen_random_uuid(), 'h', 'h', 'active', 'active', 4, 1, 1, 1, 1, 1, '02:00:00:00:00:01')`,
		`INSERT INTO disk (host_id, name, size_mib, had_mib, resize_task, boot_order) SELECT id, 'disk0', 10, 5, 1, 1 FROM host`,
		`INSERT INTO disk (name, size_mib, had_mib, resize_task, task, boot_order, uuid, account_id, node_id)
		 VALUES ('vol2', 10, 5, 1, 1, 0, gen_random_uuid(), 5, 1)`,
		`INSERT INTO account_usage (account_id, hdd_mib) VALUES (4, 10), (5, 10) ON CONFLICT (account_id) DO UPDATE SET hdd_mib = excluded.hdd_mib`,
	} {
		if _, err := pool.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	var host, own, loose int32
	err := pool.QueryRow(t.Context(), `
		SELECT (SELECT id FROM host), (SELECT id FROM disk WHERE host_id IS NOT NULL), (SELECT id FROM disk WHERE host_id IS NULL)`).
		Scan(&host, &own, &loose)
	if err != nil {
		t.Fatal(err)
	}
	w, run := &worker{}, &jobs.Run{Job: jobs.Job{ID: 1}}
	for what, a := range map[string]args{
		"of a host":      {Args: machine.Args{ID: host, UUID: uuid.NewString()}, Disk: own, Size: 10},
		"without a host": {Place: uuid.NewString(), Disk: loose, Size: 10},
	} {
		pgtest.EachFails(t, pool, "done, "+what, func(ctx context.Context, tx pgx.Tx) error { return w.done(ctx, tx, run, a) })
		pgtest.EachFails(t, pool, "failed, "+what, func(ctx context.Context, tx pgx.Tx) error {
			return w.failed(ctx, tx, run, a, fault.Internal)
		})
	}
}
