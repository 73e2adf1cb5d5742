package guest

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"slipway.dev/pkg/jobs"
	"slipway.dev/pkg/pg"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/vm/internal/host"
	"slipway.dev/services/vm/internal/machine"
)

// insert keeps the password that a job sets.
func insert(ctx context.Context, tx *unit.Tx, job, host int32, hash string) error {
	_, err := tx.Exec(ctx, `INSERT INTO password_change (job_id, host_id, password_hash) VALUES ($1, $2, $3)`, job, host, hash)
	return err
}

// find returns the password that a job sets.
func find(ctx context.Context, db pg.DB, job int32) (hash string, err error) {
	err = db.QueryRow(ctx, `SELECT password_hash FROM password_change WHERE job_id = $1`, job).Scan(&hash)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", pg.Missing("password of task", job)
	}
	return hash, err
}

// Make returns what a change of the password makes of a machine. Its guest takes the password at its next start, in case
// that its agent is silent.
func Make(db *unit.DB) machine.Make {
	return func(ctx context.Context, run *jobs.Run, m *machine.Machine) (err error) {
		m.PasswordHash, err = find(ctx, db.Pool, run.ID)
		m.Serial = run.ID
		return err
	}
}

// Tx is what jobs do in the unit of work in which they end.
type Tx interface {
	host.Tx
	// PasswordSet records the password that a job has set: in the guest, or for the guest's next start.
	PasswordSet(ctx context.Context, id, job int32, inGuest bool) error
	// Forget removes the password that a job was to set.
	Forget(ctx context.Context, job int32) error
	// Remark keeps what a job says of its end.
	Remark(ctx context.Context, job int32, text string) error
}

// rows are the tables in a unit of work.
type rows struct {
	host.Tx
	tx *unit.Tx
}

// Rows returns the Tx of the tables.
func Rows(tx *unit.Tx) Tx { return rows{host.Rows(tx), tx} }

func (t rows) PasswordSet(ctx context.Context, id, job int32, inGuest bool) error {
	hash, err := find(ctx, t.tx, job)
	if err != nil {
		return err
	}
	serial := job
	if inGuest {
		serial = 0
	}
	if err := host.SetPassword(ctx, t.tx, id, hash, serial); err != nil {
		return err
	}
	return t.Forget(ctx, job)
}

func (t rows) Forget(ctx context.Context, job int32) error {
	_, err := t.tx.Exec(ctx, `DELETE FROM password_change WHERE job_id = $1`, job)
	return err
}

func (t rows) Remark(ctx context.Context, job int32, text string) error {
	return t.tx.Remark(ctx, job, text)
}
