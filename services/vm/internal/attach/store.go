package attach

import (
	"context"

	"slipway.dev/pkg/unit"
	"slipway.dev/services/vm/internal/task"
)

// coming counts the disks that tasks are to attach to a locked host.
func coming(ctx context.Context, tx *unit.Tx, host int32) (n int, err error) {
	err = tx.QueryRow(ctx, `SELECT count(*) FROM job WHERE key = $1 AND kind = $2 AND state IN ('queued', 'running')`,
		task.HostKey(host), attachKind).Scan(&n)
	return n, err
}
