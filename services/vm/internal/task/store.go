package task

import (
	"context"
	"time"

	"google.golang.org/grpc/codes"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/unit"
)

// maxWaiting is the greatest number of unfinished tasks of one host.
const maxWaiting = 32

// errTooMany refuses a further task of a host.
var errTooMany = fault.New(codes.ResourceExhausted, "TOO_MANY_TASKS", "the host has too many tasks that wait").After(5 * time.Second)

// Admit refuses a further task of a host that has as many unfinished ones as a host may have. The caller has locked the host. A
// deletion, which cancels the others, is not refused.
func Admit(ctx context.Context, tx *unit.Tx, host int32) error {
	var waiting int
	err := tx.QueryRow(ctx, `
		SELECT count(*) FROM (
			SELECT FROM job WHERE key = $1 AND state IN ('queued', 'running', 'undoing') LIMIT $2) j`, HostKey(host), maxWaiting).Scan(&waiting)
	if err != nil {
		return err
	}
	if waiting >= maxWaiting {
		return errTooMany.With("host %d has %d tasks that wait: wait until one ends", host, waiting)
	}
	return nil
}
