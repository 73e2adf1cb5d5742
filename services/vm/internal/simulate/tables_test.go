package simulate

import (
	"context"

	ippb "slipway.dev/proto/ip/v3"

	"slipway.dev/pkg/jobs"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/vm/internal/account"
	"slipway.dev/services/vm/internal/address"
	"slipway.dev/services/vm/internal/disk"
	hosts "slipway.dev/services/vm/internal/host"
	"slipway.dev/services/vm/internal/ipchange"
	"slipway.dev/services/vm/internal/leftover"
	"slipway.dev/services/vm/internal/machine"
	nodes "slipway.dev/services/vm/internal/node"
	"slipway.dev/services/vm/internal/watch"
)

// steps are what units of work do, those of requests too.
type steps interface {
	hostRows
	AddressesChanged(ctx context.Context, host, job int32) (gone []address.Address, err error)
	AddressesUnchanged(ctx context.Context, host, job int32) error
	Enqueue(ctx context.Context, n jobs.New) (jobs.Job, error)
	Choose(ctx context.Context, cluster, node, os int32, s nodes.Size) (int32, error)
	Charge(ctx context.Context, account int32, add account.Usage) error
	Addresses(ctx context.Context, host int32) ([]address.Address, error)
	ChangeAddresses(ctx context.Context, host, job int32, add, remove []address.Address) error
	DropAddress(ctx context.Context, ip, generation int32, owner string) error
	RegisterNode(ctx context.Context, n nodes.Description) (id int32, rebooted bool, err error)
	WantedHosts(ctx context.Context, node int32) ([]int32, error)
	ResetBreaker(ctx context.Context, node int32) error
	Cancel(ctx context.Context, key string) error
}

type hostRows interface {
	hosts.Tx
	InsertHost(ctx context.Context, h *hosts.Host, disks []disk.Disk, addrs []address.Address) error
	Take(ctx context.Context, h *hosts.Host, add account.Usage, s nodes.Size) error
}

// tables does to the tables, through the rooms, what tx does to the memory.
type tables struct {
	hostRows
	tx *unit.Tx
}

func tablesOf(tx *unit.Tx) tables { return tables{hosts.Rows(tx).(hostRows), tx} }

func (t tables) AddressesChanged(ctx context.Context, host, job int32) ([]address.Address, error) {
	return address.Changed(ctx, t.tx, host, job)
}

func (t tables) AddressesUnchanged(ctx context.Context, host, job int32) error {
	return address.Unchanged(ctx, t.tx, host, job)
}

func (t tables) Enqueue(ctx context.Context, n jobs.New) (jobs.Job, error) {
	return t.tx.Enqueue(ctx, n)
}

func (t tables) Choose(ctx context.Context, cluster, node, os int32, s nodes.Size) (int32, error) {
	p, err := nodes.Choose(ctx, t.tx, cluster, node, os, nodes.Want{CPUs: s.CPUs, RAM: s.RAM, More: s.Disk - 1, Boot: 1})
	return p.Node, err
}

func (t tables) Charge(ctx context.Context, owner int32, add account.Usage) error {
	return account.Charge(ctx, t.tx, owner, add)
}

func (t tables) Addresses(ctx context.Context, host int32) ([]address.Address, error) {
	return address.Of(ctx, t.tx, host)
}

func (t tables) ChangeAddresses(ctx context.Context, host, job int32, add, remove []address.Address) error {
	return address.Change(ctx, t.tx, host, job, add, remove)
}

func (t tables) DropAddress(ctx context.Context, ip, generation int32, owner string) error {
	return ipchange.Released(ctx, t.tx, &ippb.AddressReleased{Id: ip, Generation: generation, Owner: owner})
}

func (t tables) RegisterNode(ctx context.Context, n nodes.Description) (id int32, rebooted bool, err error) {
	k, err := nodes.Register(ctx, t.tx, n)
	return k.ID, k.Rebooted, err
}

func (t tables) WantedHosts(ctx context.Context, node int32) ([]int32, error) {
	return hosts.Rebooted(ctx, t.tx, node)
}

func (t tables) ResetBreaker(ctx context.Context, node int32) error {
	return nodes.ResetBreaker(ctx, t.tx, node)
}

func (t tables) Cancel(ctx context.Context, key string) error { return t.tx.Cancel(ctx, key) }

// store is what work does outside of units of work of its own.
type store interface {
	leftover.Store
	watch.Store
	Build(ctx context.Context, host int32) (*machine.Machine, error)
}

// sql is the store of the tables.
type sql struct {
	leftover.Store
	watched
	build machine.Reader
}

type watched = watch.Store

func storeOf(db *unit.DB) store { return sql{leftover.Tables(db), watch.Tables(db), machine.Read(db)} }

func (s sql) Build(ctx context.Context, host int32) (*machine.Machine, error) {
	return s.build(ctx, host)
}

// highest returns what CatchUp is called with, as in the room leftover.
func highest(list []leftover.Stranger) (fence int64, id int32) {
	for _, x := range list {
		if leftover.Classify(x.Evidence) != leftover.NoProof {
			fence, id = max(fence, x.Observation.Fence), max(id, x.HostID)
		}
	}
	return fence, id
}
