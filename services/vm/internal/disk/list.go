package disk

import (
	"context"
	"errors"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/pg"
)

// Sold is a disk as far as its size and its owner are concerned.
type Sold struct {
	ID      int32
	Host    int32 // 0 for none
	Account int32
	Node    int32
	Place   uuid.UUID // in which the disk lies when it has no host; zero if it always had one
	Name    string    // of its file
	Label   string    // as clients read it
	SizeMiB int32     // what its host or account counts for
	Task    int32     // that adds, removes, attaches or detaches the disk; 0 for none
}

// Free refuses what is not to happen while a task works on the disk.
func (d Sold) Free() error {
	if d.Task != 0 {
		return ErrBusy.With("task %d works on disk %d: wait until the task has ended", d.Task, d.ID)
	}
	return nil
}

const sold = `
	SELECT d.id, coalesce(d.host_id, 0), coalesce(h.account_id, d.account_id), coalesce(h.node_id, d.node_id),
		coalesce(d.uuid, '00000000-0000-0000-0000-000000000000'), d.name, coalesce(nullif(d.label, ''), d.name), d.size_mib, coalesce(d.task, 0)
	FROM disk d LEFT JOIN host h ON h.id = d.host_id
	WHERE d.id = $1 AND ($2 = 0 OR coalesce(h.account_id, d.account_id) = $2)`

// Find returns a disk of owner; owner 0 has all disks. It locks nothing: the lock of the host protects its disks.
func Find(ctx context.Context, db pg.DB, id, owner int32) (Sold, error) {
	return one(ctx, db, id, sold, id, owner)
}

// Lock is Find for a disk that has no host, which it locks.
func Lock(ctx context.Context, db pg.DB, id, owner int32) (Sold, error) {
	return one(ctx, db, id, sold+` AND d.host_id IS NULL FOR UPDATE OF d`, id, owner)
}

func one(ctx context.Context, db pg.DB, id int32, query string, args ...any) (d Sold, err error) {
	err = db.QueryRow(ctx, query, args...).
		Scan(&d.ID, &d.Host, &d.Account, &d.Node, &d.Place, &d.Name, &d.Label, &d.SizeMiB, &d.Task)
	if errors.Is(err, pgx.ErrNoRows) {
		return d, pg.Missing("disk", id)
	}
	return d, err
}

// Of returns the disks of a locked host, in boot order.
func Of(ctx context.Context, db pg.DB, host int32) ([]Disk, error) {
	rows, err := db.Query(ctx, Select, host)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[Disk])
}

// Select reads the disks of the host $1, in boot order.
const Select = `SELECT ` + columns + ` FROM disk WHERE host_id = $1 ORDER BY boot_order, id`

// columns are those of a Disk.
const columns = `id, name, size_mib, boot_order, template, label, bus`

// OfJob returns the disk that a job attaches or detaches.
func OfJob(ctx context.Context, db pg.DB, job int32) (d Disk, place uuid.UUID, err error) {
	err = db.QueryRow(ctx, `SELECT `+columns+`, uuid FROM disk WHERE task = $1`, job).
		Scan(&d.ID, &d.Name, &d.SizeMiB, &d.BootOrder, &d.Template, &d.Label, &d.Bus, &place)
	if errors.Is(err, pgx.ErrNoRows) {
		err = fault.NotFound.With("the disk of task %d is gone", job)
	}
	return d, place, err
}

// CheckStaying returns ErrBusy if a task detaches a disk from a locked host: what is detached is not deleted with the host.
func CheckStaying(ctx context.Context, db pg.DB, host int32) error {
	var id, job int32
	err := db.QueryRow(ctx, `SELECT id, task FROM disk WHERE host_id = $1 AND task IS NOT NULL ORDER BY id LIMIT 1`, host).Scan(&id, &job)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	return ErrBusy.With("task %d detaches disk %d from the host: wait until the task has ended", job, id)
}
