package node

import (
	"context"
	"errors"
	"slices"

	"github.com/jackc/pgx/v5"

	"slipway.dev/pkg/pg"
	"slipway.dev/pkg/unit"
)

// silence is how long an agent may be quiet before its node counts as unavailable.
const silence = `interval '35 seconds'`

// Known is what was known of a node at its sign of life.
type Known struct {
	ID        int32
	Rebooted  bool   // the machine was started anew since the last sign
	Templates string // the digest that KeepTemplates kept
}

// update stores what an agent says of its node.
const update = `
	UPDATE node SET name = $2, endpoint = $3, cpu_number = $4, cpu_model = $5, ram_mib = $6, storage_mib = $7,
		storage_free_mib = $8, hypervisor = $9, accel = $10, kernel_version = $11, os_version = $12, qemu_version = $13,
		libvirt_version = $14, boot_id = $15, bridge = $16, dns = $17, features = $18, seen_at = now()
	WHERE uuid = $1`

// Register stores a sign of life. Nearly all come from a known node that runs on at its place: one statement stores these.
func Register(ctx context.Context, tx *unit.Tx, n Description) (k Known, err error) {
	err = tx.QueryRow(ctx, update+` AND boot_id = $15 AND endpoint = $3 AND ($19::text = '' OR EXISTS (SELECT FROM installation WHERE id = $19))
		RETURNING id, templates`, append(n.columns(), n.StackID)...).Scan(&k.ID, &k.Templates)
	if !errors.Is(err, pgx.ErrNoRows) {
		return k, err
	}
	return register(ctx, tx, n)
}

// register is Register for a node that is new, was started anew, or has moved. The first sign of a node puts the node into
// the cluster with the smallest id.
func register(ctx context.Context, tx *unit.Tx, n Description) (k Known, err error) {
	// An upsert would take a new id with every sign of life, and the first two at once would race for the first.
	if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock(hashtextextended(current_schema() || ' node ' || $1, 0))`, n.UUID.String()); err != nil {
		return k, err
	}
	if err := checkInstallation(ctx, tx, n.StackID); err != nil {
		return k, err
	}
	var boot, endpoint string
	var alive bool
	err = tx.QueryRow(ctx, `
		SELECT id, boot_id, endpoint, seen_at > now() - `+silence+`, templates FROM node WHERE uuid = $1 FOR NO KEY UPDATE`, n.UUID).
		Scan(&k.ID, &boot, &endpoint, &alive, &k.Templates)
	if errors.Is(err, pgx.ErrNoRows) {
		k.ID, err = insert(ctx, tx, n)
		return k, err
	}
	if err != nil {
		return k, err
	}
	// Copies of one disk have one node id. The machine that is in service keeps the id until it is silent.
	if alive && boot != n.BootID && endpoint != n.Endpoint {
		return k, ErrNodeTwice
	}
	k.Rebooted = boot != n.BootID
	_, err = tx.Exec(ctx, update, n.columns()...)
	return k, err
}

// KeepTemplates keeps the digest of a node's list of templates, whose rows are stored in the same unit of work.
func KeepTemplates(ctx context.Context, tx *unit.Tx, id int32, digest string) error {
	_, err := tx.Exec(ctx, `UPDATE node SET templates = $2 WHERE id = $1`, id, digest)
	return err
}

// ForgetTemplates has a node send its list of templates with its next sign of life.
func ForgetTemplates(ctx context.Context, tx *unit.Tx, id int32) error {
	return KeepTemplates(ctx, tx, id, "")
}

// columns are the values of a node's row, in the order that both statements have.
func (n Description) columns() []any {
	return []any{
		n.UUID, n.Name, n.Endpoint, n.CPUs, n.CPUModel, n.RAM, n.StorageMiB, n.StorageFreeMiB, n.Hypervisor, n.Accel,
		n.Kernel, n.OS, n.QEMU, n.Libvirt, n.BootID, n.Bridge, append([]string{}, n.DNS...),
		append([]string{}, n.Features...),
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

// Service is what a node is ready for.
type Service struct {
	Agent
	Maintenance bool
	Cluster     int32
	Features    []string
}

// Exchanges reports whether disks can come and go on the node.
func (s Service) Exchanges() bool { return slices.Contains(s.Features, "disks") }

// Find returns a node.
func Find(ctx context.Context, db pg.DB, id int32) (s Service, err error) {
	err = db.QueryRow(ctx, `
		SELECT id, uuid, endpoint, seen_at > now() - `+silence+`, maintenance, cluster_id, features FROM node WHERE id = $1`, id).
		Scan(&s.ID, &s.UUID, &s.Endpoint, &s.Alive, &s.Maintenance, &s.Cluster, &s.Features)
	if errors.Is(err, pgx.ErrNoRows) {
		return s, pg.Missing("node", id)
	}
	return s, err
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
