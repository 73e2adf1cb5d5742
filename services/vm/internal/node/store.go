package node

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"slipway.dev/pkg/pg"
	"slipway.dev/pkg/unit"
)

// silence is how long an agent may be quiet before its node counts as unavailable.
const silence = `interval '35 seconds'`

// Register stores a sign of life. The first one of a node puts the node into the cluster with the smallest id. rebooted
// reports whether the machine was started anew since the last sign.
func Register(ctx context.Context, tx *unit.Tx, n Description) (id int32, rebooted bool, err error) {
	// An upsert would take a new id with every sign of life, and the first two at once would race for the first.
	if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock(hashtextextended(current_schema() || ' node ' || $1, 0))`, n.UUID.String()); err != nil {
		return 0, false, err
	}
	if err := checkInstallation(ctx, tx, n.StackID); err != nil {
		return 0, false, err
	}
	var boot, endpoint string
	var alive bool
	err = tx.QueryRow(ctx, `
		SELECT id, boot_id, endpoint, seen_at > now() - `+silence+` FROM node WHERE uuid = $1 FOR NO KEY UPDATE`, n.UUID).
		Scan(&id, &boot, &endpoint, &alive)
	if errors.Is(err, pgx.ErrNoRows) {
		id, err = insert(ctx, tx, n)
		return id, false, err
	}
	if err != nil {
		return 0, false, err
	}
	// Copies of one disk have one node id. The machine that is in service keeps the id until it is silent.
	if alive && boot != n.BootID && endpoint != n.Endpoint {
		return 0, false, ErrNodeTwice
	}
	_, err = tx.Exec(ctx, `
		UPDATE node SET name = $2, endpoint = $3, cpu_number = $4, cpu_model = $5, ram_mib = $6, storage_mib = $7,
			storage_free_mib = $8, hypervisor = $9, accel = $10, kernel_version = $11, os_version = $12, qemu_version = $13,
			libvirt_version = $14, boot_id = $15, bridge = $16, dns = $17, seen_at = now()
		WHERE uuid = $1`, n.columns()...)
	return id, boot != n.BootID, err
}

// columns are the values of a node's row, in the order that both statements have.
func (n Description) columns() []any {
	return []any{
		n.UUID, n.Name, n.Endpoint, n.CPUs, n.CPUModel, n.RAM, n.StorageMiB, n.StorageFreeMiB, n.Hypervisor, n.Accel,
		n.Kernel, n.OS, n.QEMU, n.Libvirt, n.BootID, n.Bridge, append([]string{}, n.DNS...),
	}
}

// Agents returns the agents of all nodes.
func Agents(ctx context.Context, db *unit.DB) ([]Agent, error) {
	rows, err := db.Query(ctx, `SELECT id, uuid, endpoint, seen_at > now() - `+silence+` AS alive FROM node ORDER BY id`)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByName[Agent])
}

// CheckExists returns a fault if there is no such node.
func CheckExists(ctx context.Context, db *unit.DB, id int32) error {
	var there bool
	err := db.QueryRow(ctx, `SELECT EXISTS (SELECT FROM node WHERE id = $1)`, id).Scan(&there)
	if err == nil && !there {
		return pg.Missing("node", id)
	}
	return err
}

// QueueRelease gives back the room of a host on its node, as a part of b.
func QueueRelease(b *pgx.Batch, id int32, s Size) {
	b.Queue(`
		UPDATE node SET cpu_allocated = cpu_allocated - $2, ram_allocated = ram_allocated - $3,
			storage_allocated = storage_allocated - $4
		WHERE id = $1`, id, s.CPUs, s.RAM, s.Disk)
}
