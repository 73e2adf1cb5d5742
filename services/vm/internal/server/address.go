package server

import (
	"cmp"
	"context"
	"errors"

	"github.com/google/uuid"

	ippb "slipway.dev/proto/ip/v3"
	oppb "slipway.dev/proto/op/v1"
	querypb "slipway.dev/proto/query/v1"
	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/identity"
	"slipway.dev/pkg/pg"
	"slipway.dev/pkg/query"
	"slipway.dev/services/vm/internal/domain"
	"slipway.dev/services/vm/internal/store"
	"slipway.dev/services/vm/internal/work"
)

// lapse is how long further addresses of a host wait for their job, behind other jobs of the host.
const lapse = 60 * 60

// AddHostIP reserves what the host shall get, then records it and what the host shall lose with the job in one
// transaction. When the process dies in between, the addresses lapse.
func (s *Server) AddHostIP(ctx context.Context, r *vmpb.AddHostIPRequest) (*oppb.Operation, error) {
	w := domain.NewIPs{IPv4: r.GetIpv4Number(), Pools: r.GetIpv4Pool(), IPv6: r.Ipv6Enabled}
	for _, x := range append(r.GetIpList(), r.GetIpAddr()) {
		w.List = append(w.List, domain.NewIP{Name: x.GetName(), Pool: x.GetIpPool(), Network: x.GetIpNetwork()})
	}
	if err := w.Check(); err != nil {
		return nil, err
	}
	h, err := s.store.HostItem(ctx, r.GetId(), owner(ctx))
	if err != nil {
		return nil, err
	}
	list, err := s.store.Addresses(ctx, h.ID)
	if err != nil {
		return nil, err
	}
	keys, added, err := s.takeMore(ctx, &h, &w, list)
	if err == nil {
		var op *oppb.Operation
		op, err = s.change(ctx, h.ID, work.IPChange, keys, added, w.Surplus)
		if err == nil || errors.Is(err, pg.ErrUnknownCommit) {
			return op, err // when nobody knows whether the host has them, they must not be taken from it
		}
	}
	s.giveBack(ctx, h.UUID, keys...)
	return nil, err
}

// takeMore reserves what a wish adds to a host, under keys that are returned also when something fails.
func (s *Server) takeMore(ctx context.Context, h *store.HostItem, w *domain.NewIPs, list []domain.Address) (keys []string, added []domain.Address, err error) {
	var wishes []*ippb.ReserveRequest
	first := &ippb.ReserveRequest{PoolIds: w.Pools, Ipv4Count: max(0, w.IPv4)}
	if w.IPv6 != nil && *w.IPv6 && !domain.HasIPv6(list) {
		first.Ipv6Count = 1
	}
	if first.GetIpv4Count()+first.GetIpv6Count() > 0 {
		wishes = append(wishes, first)
	}
	for _, x := range w.List {
		r := &ippb.ReserveRequest{Wish: x.Name, NetworkId: x.Network}
		if x.Pool != 0 {
			r.PoolIds = []int32{x.Pool}
		}
		if x.Name == "" {
			r.Ipv4Count = 1
		}
		wishes = append(wishes, r)
	}
	for _, r := range wishes {
		r.Owner, r.Key = h.UUID.String(), uuid.NewString()
		r.ClusterId, r.AccountId, r.LapseSeconds = h.ClusterID, h.AccountID, lapse
		keys = append(keys, r.GetKey())
		got, err := s.take(ctx, r)
		if err != nil {
			return keys, nil, err
		}
		added = append(added, got...)
	}
	return keys, added, domain.CheckCount(len(list) + len(added))
}

// change records a change of a host's addresses and the job that makes it. surplus chooses what goes.
func (s *Server) change(ctx context.Context, id int32, kind string, keys []string, added []domain.Address,
	surplus func([]domain.Address) ([]domain.Address, error),
) (op *oppb.Operation, err error) {
	err = s.store.InTx(ctx, func(tx store.Tx) error {
		h, err := tx.Host(ctx, id, owner(ctx))
		if err != nil {
			return err
		}
		if h.State == domain.Deleting {
			return domain.ErrDeleting.With("host %d is being deleted", h.ID)
		}
		list, err := tx.Addresses(ctx, id)
		if err != nil {
			return err
		}
		gone, err := surplus(list)
		if err != nil {
			return err
		}
		a := args(h, false)
		a.Keys = keys
		job, err := enqueue(ctx, tx, kind, store.HostKey(id), h.AccountID, a)
		if err != nil {
			return err
		}
		if err := tx.ChangeAddresses(ctx, id, job.ID, added, gone); err != nil {
			return err
		}
		if err := tx.Charge(ctx, h.AccountID, domain.Usage{domain.IPv4Number: ipv4Count(added)}); err != nil {
			return err
		}
		op = operation(id, job)
		return tx.Answer(ctx, op)
	})
	if err != nil {
		return nil, err
	}
	return op, nil
}

// RemoveHostIP accepts a wish that a host loses one address.
func (s *Server) RemoveHostIP(ctx context.Context, r *vmpb.RemoveHostIPRequest) (*oppb.Operation, error) {
	id, _, err := s.store.Holder(ctx, r.GetIp(), owner(ctx))
	if err != nil {
		return nil, err
	}
	if r.GetId() != 0 && r.GetId() != id {
		return nil, fault.NotFound.With("host %d has no address %d", r.GetId(), r.GetIp())
	}
	return s.change(ctx, id, work.IPDelete, nil, nil, func(list []domain.Address) ([]domain.Address, error) {
		a, err := domain.Remove(list, r.GetIp(), r.GetForce())
		return []domain.Address{a}, err
	})
}

// SetPTR names an address of a host; an administrator may name any that somebody has. What vm keeps of it is written at
// once, for who reads after he wrote, and by ip's event, in case that does not happen any more.
func (s *Server) SetPTR(ctx context.Context, r *vmpb.SetPTRRequest) (*vmpb.SetPTRResponse, error) {
	req := &ippb.SetPTRRequest{Id: r.GetId(), Domain: r.GetDomain()}
	_, id, err := s.store.Holder(ctx, r.GetId(), owner(ctx))
	caller, _ := identity.From(ctx)
	switch {
	case err == nil:
		req.Owner = id.String()
	case !errors.Is(err, fault.NotFound) || !caller.Admin():
		return nil, err
	}
	resp, err := s.peers.Addresses.SetPTR(ctx, req)
	if err != nil {
		return nil, err
	}
	err = s.store.InTx(ctx, func(tx store.Tx) error { return tx.NameAddress(ctx, r.GetId(), resp.GetPtrSerial(), resp.GetDomain()) })
	return &vmpb.SetPTRResponse{Id: r.GetId()}, err
}

// ListHostIPv4 lists a host's IPv4 addresses.
func (s *Server) ListHostIPv4(ctx context.Context, r *vmpb.ListHostIPv4Request) (*vmpb.ListHostIPv4Response, error) {
	l, list, err := s.hostIPs(ctx, r.GetQuery(), r.GetId(), 4)
	if err != nil {
		return nil, err
	}
	return &vmpb.ListHostIPv4Response{LastNotify: l.LastNotify, Size: l.Size, List: list}, nil
}

// GetHostIPv6 tells what a host has of IPv6.
func (s *Server) GetHostIPv6(ctx context.Context, r *vmpb.GetHostIPv6Request) (*vmpb.HostIPv6, error) {
	l, list, err := s.hostIPs(ctx, nil, r.GetId(), 6)
	if err != nil {
		return nil, err
	}
	p := &vmpb.HostIPv6{Ipv6Enabled: len(list) > 0, List: list}
	if len(list) > 0 {
		p.Ipv6Prefix = l.Rows[0].Prefix
	}
	return p, nil
}

// hostIPs is a page of the addresses of one family.
func (s *Server) hostIPs(ctx context.Context, q *querypb.Query, id, family int32) (l query.Rows[store.HostIP], list []*vmpb.HostIP, err error) {
	h, err := s.store.HostItem(ctx, id, owner(ctx))
	if err != nil {
		return l, nil, err
	}
	if l, err = s.store.HostIPs(ctx, q, h.ID, family); err != nil {
		return l, nil, err
	}
	for _, a := range l.Rows {
		list = append(list, &vmpb.HostIP{
			Id: a.ID, IpAddr: a.Addr, Domain: cmp.Or(a.Domain, h.Domain), Gateway: a.Gateway, Mask: a.Mask, State: a.State,
			Family: a.Family, Ippool: a.Pool, Network: a.Network, ClusterInterface: a.Interface,
			Host: &vmpb.HostIPHost{Id: h.ID, Name: h.Name, InterfaceName: "eth0"},
		})
	}
	return l, list, nil
}
