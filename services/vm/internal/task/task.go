// Package task shows jobs as the dialect's tasks, and makes the jobs that requests ask for.
package task

import (
	"context"
	"strconv"

	oppb "slipway.dev/proto/op/v1"

	"slipway.dev/pkg/identity"
	"slipway.dev/pkg/jobs"
	"slipway.dev/pkg/rpc"
	"slipway.dev/pkg/unit"
)

// HostKey returns the key of a host's jobs and events: jobs of one key run in order.
func HostKey(id int32) string { return "host/" + strconv.Itoa(int(id)) }

// Enqueue adds a job for the request under way, which works on a node, or on none for 0. The task belongs to account, which
// need not be the caller's.
func Enqueue(ctx context.Context, tx *unit.Tx, kind, key string, account, node int32, args any) (jobs.Job, error) {
	id, _ := identity.From(ctx)
	return tx.Enqueue(ctx, jobs.New{
		Kind: kind, Key: key, Args: args,
		AccountID: account, NodeID: node, CreatedBy: id.Email, RequestID: rpc.RequestID(ctx),
	})
}

// Operation returns the answer to a request that left a job for the object id.
func Operation(id int32, j jobs.Job) *oppb.Operation { return &oppb.Operation{Id: id, Task: j.ID} }
