// Package server answers vm's rpcs: it decides, records, and leaves the world to the worker.
package server

import (
	"context"
	"time"

	authpb "slipway.dev/proto/auth/v4"
	ippb "slipway.dev/proto/ip/v3"
	oppb "slipway.dev/proto/op/v1"
	parkedpb "slipway.dev/proto/parked/v1"
	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/pkg/fsck"
	"slipway.dev/pkg/identity"
	"slipway.dev/pkg/jobs"
	"slipway.dev/pkg/rpc"
	"slipway.dev/services/vm/internal/store"
	"slipway.dev/services/vm/internal/work"
)

// Peers are the services that vm asks.
type Peers struct {
	Users     authpb.UserServiceClient
	Addresses ippb.AddressServiceClient
	Pools     ippb.PoolServiceClient
	Dial      work.Dial
	Fsck      *fsck.Checker
	// Parked are the services that take in events, vm among them, by name.
	Parked map[string]parkedpb.ParkedServiceClient
}

// Server implements all services of vm.v3.
type Server struct {
	vmpb.UnimplementedHostServiceServer
	vmpb.UnimplementedClusterServiceServer
	vmpb.UnimplementedNodeServiceServer
	vmpb.UnimplementedOSServiceServer
	vmpb.UnimplementedAccountServiceServer
	vmpb.UnimplementedTaskServiceServer
	vmpb.UnimplementedLimitServiceServer
	vmpb.UnimplementedFsckServiceServer

	store *store.Store
	peers Peers
	// signs bounds how many signs of life are stored at once: when all nodes come back together, the connections to the
	// database are not theirs alone.
	signs chan struct{}
}

// signsAtOnce is far below the connections of the pool.
const signsAtOnce = 4

// Register adds all services to r.
func Register(r *rpc.Server, s *store.Store, p Peers) {
	srv := &Server{store: s, peers: p, signs: make(chan struct{}, signsAtOnce)}
	vmpb.RegisterHostServiceServer(r, srv)
	vmpb.RegisterClusterServiceServer(r, srv)
	vmpb.RegisterNodeServiceServer(r, srv)
	vmpb.RegisterOSServiceServer(r, srv)
	vmpb.RegisterAccountServiceServer(r, srv)
	vmpb.RegisterTaskServiceServer(r, srv)
	vmpb.RegisterLimitServiceServer(r, srv)
	vmpb.RegisterFsckServiceServer(r, srv)
}

// owner is the account whose objects the caller sees; 0 sees all.
func owner(ctx context.Context) int32 {
	id, ok := identity.From(ctx)
	switch {
	case !ok:
		return -1 // nobody: no row has this owner
	case id.ReachesAll():
		return 0
	default:
		return id.AccountID
	}
}

// enqueue makes a job of a host in the caller's unit of work. The task is the owner's, whoever asked.
func enqueue(ctx context.Context, tx store.Tx, kind, key string, account int32, args any) (jobs.Job, error) {
	id, _ := identity.From(ctx)
	return tx.Enqueue(ctx, jobs.New{
		Kind: kind, Key: key, Args: args,
		AccountID: account, CreatedBy: id.Email, RequestID: rpc.RequestID(ctx),
	})
}

func operation(id int32, j jobs.Job) *oppb.Operation { return &oppb.Operation{Id: id, Task: j.ID} }

// date renders a time as the dialect does.
func date(t time.Time) string { return t.UTC().Format(time.DateTime) }

// each renders the rows of a list.
func each[T, P any](rows []T, render func(*T) P) []P {
	out := make([]P, len(rows))
	for i := range rows {
		out[i] = render(&rows[i])
	}
	return out
}
