package disk

import (
	"context"

	"github.com/google/uuid"

	"slipway.dev/pkg/unit"
)

// Add inserts an empty disk without a host, and returns its id.
func Add(ctx context.Context, tx *unit.Tx, d Sold) (id int32, err error) {
	err = tx.QueryRow(ctx, `
		WITH n AS (SELECT nextval(pg_get_serial_sequence('disk', 'id'))::integer AS id)
		INSERT INTO disk (id, name, label, size_mib, boot_order, uuid, account_id, node_id)
		OVERRIDING SYSTEM VALUE
		SELECT n.id, 'vol' || n.id, $1, $2, 0, $3, $4, $5 FROM n RETURNING id`, d.Label, d.SizeMiB, d.Place, d.Account, d.Node).Scan(&id)
	return id, err
}

// Hold records the job that works on a disk, until Release.
func Hold(ctx context.Context, tx *unit.Tx, id, job int32) error {
	_, err := tx.Exec(ctx, `UPDATE disk SET task = $2, uuid = coalesce(uuid, $3) WHERE id = $1`, id, job, uuid.New())
	return err
}

// Release records that a job works on its disk no more.
func Release(ctx context.Context, tx *unit.Tx, job int32) error {
	_, err := tx.Exec(ctx, `UPDATE disk SET task = NULL WHERE task = $1`, job)
	return err
}

// Delete removes a disk without a host.
func Delete(ctx context.Context, tx *unit.Tx, id int32) error {
	_, err := tx.Exec(ctx, `DELETE FROM disk WHERE id = $1 AND host_id IS NULL`, id)
	return err
}

// Attach gives a disk to a locked host, behind its other disks, by a bus.
func Attach(ctx context.Context, tx *unit.Tx, id, host int32, bus string) error {
	_, err := tx.Exec(ctx, `
		UPDATE disk SET host_id = $2, account_id = NULL, node_id = NULL, task = NULL, bus = $3,
			boot_order = 1 + (SELECT coalesce(max(boot_order), 0) FROM disk WHERE host_id = $2)
		WHERE id = $1 AND host_id IS NULL`, id, host, bus)
	return err
}

// SetBus sets the bus by which the guest of a locked host reaches a disk.
func SetBus(ctx context.Context, tx *unit.Tx, id, host int32, bus string) error {
	_, err := tx.Exec(ctx, `UPDATE disk SET bus = $3 WHERE id = $1 AND host_id = $2`, id, host, bus)
	return err
}

// Detach takes a disk from its locked host: an account has the disk, on a node. What clients call the disk stays.
func Detach(ctx context.Context, tx *unit.Tx, id, account, node int32) error {
	_, err := tx.Exec(ctx, `
		UPDATE disk SET host_id = NULL, account_id = $2, node_id = $3, task = NULL, boot_order = 0, name = $4,
			label = CASE label WHEN '' THEN name ELSE label END
		WHERE id = $1 AND host_id IS NOT NULL`, id, account, node, FileOf(id))
	return err
}

// Order gives the disks of a locked host their places in the boot order. Disks that numbers does not have keep theirs.
func Order(ctx context.Context, tx *unit.Tx, host int32, numbers map[int32]int32) error {
	var ids, places []int32
	for id, n := range numbers {
		ids, places = append(ids, id), append(places, n)
	}
	_, err := tx.Exec(ctx, `
		UPDATE disk d SET boot_order = v.n FROM unnest($2::integer[], $3::integer[]) AS v(id, n)
		WHERE d.id = v.id AND d.host_id = $1 AND d.boot_order <> v.n`, host, ids, places)
	return err
}

// Give moves a locked disk without a host to another account.
func Give(ctx context.Context, tx *unit.Tx, id, account int32) error {
	_, err := tx.Exec(ctx, `UPDATE disk SET account_id = $2 WHERE id = $1 AND host_id IS NULL`, id, account)
	return err
}

// GiveAll moves all disks without a host of an account to another one, and returns their size in MiB.
func GiveAll(ctx context.Context, tx *unit.Tx, from, to int32) (size int64, err error) {
	err = tx.QueryRow(ctx, `
		WITH moved AS (UPDATE disk SET account_id = $2 WHERE account_id = $1 AND host_id IS NULL RETURNING size_mib)
		SELECT coalesce(sum(size_mib), 0) FROM moved`, from, to).Scan(&size)
	return size, err
}
