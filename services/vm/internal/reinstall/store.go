package reinstall

import (
	"context"
	"errors"
	"slices"

	"github.com/jackc/pgx/v5"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/jobs"
	"slipway.dev/pkg/pg"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/vm/internal/disk"
	"slipway.dev/services/vm/internal/host"
	"slipway.dev/services/vm/internal/machine"
	"slipway.dev/services/vm/internal/power"
)

// change is what a job makes of a host.
type change struct {
	Host, Disk, OS       int32
	Name, Template, Hash string // of the new disk; Hash "" leaves the password
}

// insert keeps what a job makes of a host.
func insert(ctx context.Context, tx *unit.Tx, job int32, c change) error {
	_, err := tx.Exec(ctx, `
		INSERT INTO reinstall (job_id, host_id, disk_id, disk_name, os_id, template, password_hash)
		VALUES ($1, $2, $3, $4, $5, $6, $7)`, job, c.Host, c.Disk, c.Name, c.OS, c.Template, c.Hash)
	return err
}

// find returns what a job makes of its host.
func find(ctx context.Context, db pg.DB, job int32) (c change, err error) {
	err = db.QueryRow(ctx, `
		SELECT host_id, disk_id, os_id, disk_name, template, password_hash FROM reinstall WHERE job_id = $1`, job).
		Scan(&c.Host, &c.Disk, &c.OS, &c.Name, &c.Template, &c.Hash)
	if errors.Is(err, pgx.ErrNoRows) {
		return c, pg.Missing("reinstallation", job)
	}
	return c, err
}

// Make returns what the jobs of this room make of a machine: its disk has another file, and the guest another password.
func Make(db *unit.DB) machine.Make {
	return func(ctx context.Context, run *jobs.Run, m *machine.Machine) error {
		c, err := find(ctx, db.Pool, run.ID)
		if err != nil {
			return err
		}
		m.Disks = slices.Clone(m.Disks)
		i := slices.IndexFunc(m.Disks, func(d disk.Disk) bool { return d.ID == c.Disk })
		if i < 0 {
			return fault.NotFound.With("the host has no disk %d any more", c.Disk)
		}
		m.Disks[i].Name, m.Disks[i].Template, m.Fresh = c.Name, c.Template, c.Name
		if m.Serial = 0; c.Hash != "" {
			m.PasswordHash = c.Hash
		}
		return nil
	}
}

// Tx is what jobs do in the unit of work in which they end.
type Tx interface {
	power.Tx
	// Reinstalled records what a job has made of its host, and returns the name of the disk that the host has no more.
	Reinstalled(ctx context.Context, h *host.Host, job int32) (old string, err error)
	// Forget removes what a job was to make.
	Forget(ctx context.Context, job int32) error
	Enqueue(ctx context.Context, n jobs.New) (jobs.Job, error)
}

// rows are the tables in a unit of work.
type rows struct {
	power.Tx
	tx *unit.Tx
}

// Rows returns the Tx of the tables.
func Rows(tx *unit.Tx) Tx { return rows{power.Rows(tx), tx} }

func (t rows) Enqueue(ctx context.Context, n jobs.New) (jobs.Job, error) { return t.tx.Enqueue(ctx, n) }

func (t rows) Reinstalled(ctx context.Context, h *host.Host, job int32) (old string, err error) {
	c, err := find(ctx, t.tx, job)
	if err != nil {
		return "", err
	}
	if old, err = disk.Replace(ctx, t.tx, h.ID, c.Disk, c.Name, c.Template); err != nil {
		return "", err
	}
	hash := h.PasswordHash
	if c.Hash != "" {
		hash = c.Hash
	}
	if err := host.SetSystem(ctx, t.tx, h.ID, c.OS, hash); err != nil {
		return "", err
	}
	return old, t.Forget(ctx, job)
}

func (t rows) Forget(ctx context.Context, job int32) error {
	_, err := t.tx.Exec(ctx, `DELETE FROM reinstall WHERE job_id = $1`, job)
	return err
}
