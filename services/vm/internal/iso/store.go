package iso

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"slipway.dev/pkg/unit"
	"slipway.dev/services/vm/internal/host"
	"slipway.dev/services/vm/internal/power"
	"slipway.dev/services/vm/internal/task"
)

// Tx is what jobs do in the unit of work in which they end.
type Tx interface {
	power.Tx
	// Inserted records the CD in the drive of a host; name "" for none.
	Inserted(ctx context.Context, id int32, name string) error
}

// rows are the tables in a unit of work.
type rows struct {
	power.Tx
	tx *unit.Tx
}

// Rows returns the Tx of the tables.
func Rows(tx *unit.Tx) Tx { return rows{power.Rows(tx), tx} }

func (t rows) Inserted(ctx context.Context, id int32, name string) error {
	return host.SetCD(ctx, t.tx, id, name)
}

// unfinished returns a job of a kind that is to come or under way on a locked host, 0 for none.
func unfinished(ctx context.Context, tx *unit.Tx, id int32, kind string) (job int32, err error) {
	err = tx.QueryRow(ctx, `
		SELECT id FROM job WHERE key = $1 AND kind = $2 AND state IN ('queued', 'running') ORDER BY id DESC LIMIT 1`,
		task.HostKey(id), kind).Scan(&job)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, nil
	}
	return job, err
}
