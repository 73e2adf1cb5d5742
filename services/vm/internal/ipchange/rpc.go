package ipchange

import (
	"context"
	"errors"

	"github.com/google/uuid"

	ippb "slipway.dev/proto/ip/v3"
	oppb "slipway.dev/proto/op/v1"
	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/pg"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/vm/internal/account"
	"slipway.dev/services/vm/internal/address"
	"slipway.dev/services/vm/internal/host"
	"slipway.dev/services/vm/internal/listing"
	"slipway.dev/services/vm/internal/task"
)

// lapse is for how many seconds further addresses of a host wait for their job, behind other jobs of the host.
const lapse = 60 * 60

// Server answers the part of vm.v3.HostService that changes the addresses of hosts.
type Server struct {
	db    *unit.DB
	peers address.Reserver
}

// NewServer returns a Server.
func NewServer(db *unit.DB, peers address.Reserver) *Server { return &Server{db, peers} }

// AddHostIP reserves what the host is to get, then records that, and what the host is to lose, with the job in one
// transaction. When the process dies in between, the addresses expire.
func (s *Server) AddHostIP(ctx context.Context, r *vmpb.AddHostIPRequest) (*oppb.Operation, error) {
	c := Change{
		IPv4: r.GetIpv4Number(), Pools: r.GetIpv4Pool(),
		IPv6: r.Ipv6Enabled, IPv6Pools: r.GetIpv6Pool(), IPv6Prefix: r.GetIpv6Prefix(),
	}
	for _, x := range r.GetIpList() {
		c.List = append(c.List, Wanted{Name: x.GetName(), Pool: x.GetIpPool(), Network: x.GetIpNetwork(), Field: "ip_list"})
	}
	one := r.GetIpAddr()
	c.List = append(c.List, Wanted{Name: one.GetName(), Pool: one.GetIpPool(), Network: one.GetIpNetwork(), Field: "ip_addr"})
	if err := c.check(); err != nil {
		return nil, err
	}
	h, err := find(ctx, s.db, r.GetId(), listing.Owner(ctx))
	if err != nil {
		return nil, err
	}
	list, err := address.Of(ctx, s.db, h.ID)
	if err != nil {
		return nil, err
	}
	claims := c.claims(list)
	if err := s.allow(ctx, h, len(list), c.field(), claims); err != nil {
		return nil, err
	}
	keys, added, err := s.reserve(ctx, h, claims)
	if err == nil {
		err = address.CheckPrefix(added, c.IPv6Prefix)
	}
	if err == nil {
		var op *oppb.Operation
		op, err = s.change(ctx, h, changeKind, keys, added, c.Surplus)
		if err == nil || errors.Is(err, pg.ErrUnknownCommit) {
			return op, err // when it is unknown whether the host has them, they must not be taken from it
		}
	}
	s.peers.Release(ctx, h.UUID, keys...)
	return nil, err
}

// claims returns what to reserve for a change of a host that has these addresses.
func (n *Change) claims(list []address.Address) (claims []address.Claim) {
	first := &ippb.ReserveRequest{PoolIds: n.Pools, Ipv4Count: max(0, n.IPv4)}
	if n.IPv6 != nil && *n.IPv6 && !hasIPv6(list) {
		first.Ipv6Count = 1
	}
	if first.GetIpv4Count()+first.GetIpv6Count() > 0 {
		c := address.Claim{ReserveRequest: first, By: address.Asker{Pools: "ipv4_pool"}}
		claims = append(claims, c.Split(n.IPv6Pools)...)
	}
	for _, x := range n.List {
		r := &ippb.ReserveRequest{Wish: x.Name, NetworkId: x.Network}
		if x.Pool != 0 {
			r.PoolIds = []int32{x.Pool}
		}
		if x.Name == "" {
			r.AnyCount = 1
		}
		claims = append(claims, address.Claim{ReserveRequest: r, By: address.Asker{One: x.Field, Pools: x.Field}})
	}
	return claims
}

// allow refuses what the host or its account may not have, before addresses are taken from others. The limits count in
// the transaction that records the change. field is the one that asks for the addresses.
func (s *Server) allow(ctx context.Context, h target, has int, field string, claims []address.Claim) error {
	four, six := address.Asked(claims)
	if err := address.CheckCount(has+int(four+six), field); err != nil {
		return err
	}
	return account.Allow(ctx, s.db, h.AccountID, account.Usage{account.IPv4Number: int64(four)})
}

// reserve reserves what a change adds to a host, under keys that are returned also when something fails.
func (s *Server) reserve(ctx context.Context, h target, claims []address.Claim) (
	keys []string, added []address.Address, err error,
) {
	for _, r := range claims {
		r.Owner, r.Key = h.UUID.String(), uuid.NewString()
		r.ClusterId, r.AccountId, r.LapseSeconds = h.ClusterID, h.AccountID, lapse
		keys = append(keys, r.GetKey())
		got, err := s.peers.Reserve(ctx, r)
		if err != nil {
			return keys, nil, err
		}
		added = append(added, got...)
	}
	return keys, added, nil
}

// change records a change of a host's addresses and the job that makes it. surplus chooses what goes.
func (s *Server) change(ctx context.Context, was target, kind string, keys []string, added []address.Address,
	surplus func([]address.Address) ([]address.Address, error),
) (op *oppb.Operation, err error) {
	err = s.db.InTx(ctx, func(tx *unit.Tx) error {
		id := was.ID
		h, err := host.Lock(ctx, tx, id, listing.Owner(ctx))
		if err != nil {
			return err
		}
		if len(added) > 0 && h.AccountID != was.AccountID {
			return errMoved // ip has booked the addresses for the account that the host had
		}
		if h.State == host.Deleting {
			return host.ErrDeleting.With("host %d is being deleted", h.ID)
		}
		if err := task.Admit(ctx, tx, id); err != nil {
			return err
		}
		list, err := address.Of(ctx, tx, id)
		if err != nil {
			return err
		}
		gone, err := surplus(list)
		if err != nil {
			return err
		}
		a := h.Args(false)
		a.Keys = keys
		job, err := task.Enqueue(ctx, tx, kind, task.HostKey(id), h.AccountID, h.NodeID, a)
		if err != nil {
			return err
		}
		if err := address.Change(ctx, tx, id, job.ID, added, gone); err != nil {
			return err
		}
		usage := account.Usage{account.IPv4Number: address.CountIPv4(added)}
		if err := account.Charge(ctx, tx, h.AccountID, usage); err != nil {
			return err
		}
		op = task.Operation(id, job)
		return tx.Answer(ctx, op)
	})
	if err != nil {
		return nil, err
	}
	return op, nil
}

// RemoveHostIP records that a host is to lose one address.
func (s *Server) RemoveHostIP(ctx context.Context, r *vmpb.RemoveHostIPRequest) (*oppb.Operation, error) {
	id, _, err := address.Holder(ctx, s.db, r.GetIp(), listing.Owner(ctx))
	if err != nil {
		return nil, err
	}
	if r.GetId() != 0 && r.GetId() != id {
		return nil, fault.NotFound.With("host %d has no address %d", r.GetId(), r.GetIp())
	}
	return s.change(ctx, target{ID: id}, deleteKind, nil, nil, func(list []address.Address) ([]address.Address, error) {
		a, err := removable(list, r.GetIp(), r.GetForce())
		return []address.Address{a}, err
	})
}
