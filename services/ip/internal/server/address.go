package server

import (
	"context"

	ippb "slipway.dev/proto/ip/v3"

	"slipway.dev/pkg/crash"
	"slipway.dev/services/ip/internal/domain"
	"slipway.dev/services/ip/internal/store"
)

// Where a change is kept and not yet answered.
var (
	pointReserve = crash.At("ip.reserve.committed")
	pointConfirm = crash.At("ip.confirm.committed")
	pointRelease = crash.At("ip.release.committed")
)

// ListAddresses lists addresses that are not free.
func (s *Server) ListAddresses(ctx context.Context, r *ippb.ListAddressesRequest) (*ippb.ListAddressesResponse, error) {
	l, err := s.store.Addresses(ctx, r.GetQuery())
	if err != nil {
		return nil, err
	}
	return &ippb.ListAddressesResponse{LastNotify: l.LastNotify, Size: l.Size, List: each(l.Rows, address)}, nil
}

// Reserve takes addresses for an owner, or answers those that it has.
func (s *Server) Reserve(ctx context.Context, r *ippb.ReserveRequest) (*ippb.ReserveResponse, error) {
	w, err := domain.NewWant(r.GetOwner(), r.GetClusterId(), r.GetPoolIds(), r.GetIpv4Count(), r.GetIpv6Count(),
		r.GetLapseSeconds(), r.GetWish())
	if err != nil {
		return nil, err
	}
	list, err := s.store.Reserve(ctx, w)
	if err != nil {
		return nil, err
	}
	pointReserve.Hit()
	return &ippb.ReserveResponse{Addresses: each(list, address)}, nil
}

// Confirm makes the owner's reservations permanent.
func (s *Server) Confirm(ctx context.Context, r *ippb.ConfirmRequest) (*ippb.ConfirmResponse, error) {
	owner, err := domain.ParseOwner(r.GetOwner())
	if err != nil {
		return nil, err
	}
	if err := s.store.InTx(ctx, func(tx store.Tx) error { return tx.Confirm(ctx, owner) }); err != nil {
		return nil, err
	}
	pointConfirm.Hit()
	return &ippb.ConfirmResponse{}, nil
}

// Release gives back all addresses of an owner.
func (s *Server) Release(ctx context.Context, r *ippb.ReleaseRequest) (*ippb.ReleaseResponse, error) {
	owner, err := domain.ParseOwner(r.GetOwner())
	if err != nil {
		return nil, err
	}
	var n int
	err = s.store.InTx(ctx, func(tx store.Tx) error {
		n, err = tx.Release(ctx, owner, s.quarantine)
		return err
	})
	if err != nil {
		return nil, err
	}
	pointRelease.Hit()
	return &ippb.ReleaseResponse{Released: int32(n)}, nil
}

func address(a domain.Address) *ippb.Address {
	ip := a.IP.String()
	return &ippb.Address{
		Id: a.ID, IpAddr: ip, Name: ip, State: a.State, Family: domain.Family(a.IP), Ippool: a.PoolID,
		Ipnet: a.NetworkID, Network: a.NetworkID, IpnetName: a.CIDR.String(), Gateway: a.Gateway.String(),
		Mask: domain.Mask(a.CIDR), PrefixLength: int32(a.CIDR.Bits()), Domain: a.Domain, Owner: a.Owner, Interface: a.Interface,
	}
}
