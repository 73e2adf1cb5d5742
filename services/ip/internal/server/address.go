package server

import (
	"context"
	"net/netip"

	"google.golang.org/protobuf/types/known/wrapperspb"

	ippb "slipway.dev/proto/ip/v3"

	"slipway.dev/pkg/audit"
	"slipway.dev/pkg/clamp"
	"slipway.dev/services/ip/internal/domain"
	"slipway.dev/services/ip/internal/store"
)

// ListAddresses lists addresses.
func (s *Server) ListAddresses(ctx context.Context, r *ippb.ListAddressesRequest) (*ippb.ListAddressesResponse, error) {
	l, err := s.store.Addresses(ctx, r.GetQuery())
	if err != nil {
		return nil, err
	}
	return &ippb.ListAddressesResponse{LastNotify: l.LastNotify, Size: l.Size, List: each(l.Rows, address)}, nil
}

// GetAddress reads one address.
func (s *Server) GetAddress(ctx context.Context, r *ippb.GetAddressRequest) (*ippb.Address, error) {
	a, err := s.store.Address(ctx, r.GetId())
	if err != nil {
		return nil, err
	}
	return address(a), nil
}

// HoldAddress reserves an address for no owner.
func (s *Server) HoldAddress(ctx context.Context, r *ippb.HoldAddressRequest) (*ippb.HoldAddressResponse, error) {
	a, err := s.store.Address(ctx, r.GetId())
	if err != nil {
		return nil, err
	}
	return s.hold(ctx, a.PoolID, a.IP, r.GetNote())
}

// HoldPoolAddress does so by pool and address.
func (s *Server) HoldPoolAddress(ctx context.Context, r *ippb.HoldPoolAddressRequest) (*ippb.HoldAddressResponse, error) {
	ip, err := domain.ParseAddress("ip_addr", r.GetIpAddr())
	if err != nil {
		return nil, err
	}
	if _, err := s.store.Pool(ctx, r.GetId()); err != nil {
		return nil, err
	}
	return s.hold(ctx, r.GetId(), ip, r.GetNote())
}

func (s *Server) hold(ctx context.Context, pool int32, ip netip.Addr, note string) (*ippb.HoldAddressResponse, error) {
	if err := domain.CheckNote(note); err != nil {
		return nil, err
	}
	var id int32
	err := s.store.InTx(ctx, func(tx store.Tx) (err error) {
		if id, err = tx.Hold(ctx, pool, ip, note); err != nil {
			return err
		}
		audit.Of(ctx).Object("address", id)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &ippb.HoldAddressResponse{Id: id}, nil
}

// FreeAddress frees an address that is held for no owner.
func (s *Server) FreeAddress(ctx context.Context, r *ippb.FreeAddressRequest) (*ippb.FreeAddressResponse, error) {
	if err := s.store.InTx(ctx, func(tx store.Tx) error { return tx.Free(ctx, r.GetId()) }); err != nil {
		return nil, err
	}
	return &ippb.FreeAddressResponse{Id: r.GetId()}, nil
}

// SetPTR names an address.
func (s *Server) SetPTR(ctx context.Context, r *ippb.SetPTRRequest) (*ippb.SetPTRResponse, error) {
	name, err := domain.CheckDomain(r.GetDomain())
	if err != nil {
		return nil, err
	}
	owner := r.GetOwner()
	if owner != "" {
		if owner, err = domain.ParseOwner(owner); err != nil {
			return nil, err
		}
	}
	var serial int32
	err = s.store.InTx(ctx, func(tx store.Tx) error {
		serial, err = tx.SetPTR(ctx, r.GetId(), owner, name)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &ippb.SetPTRResponse{Domain: name, PtrSerial: serial}, nil
}

func address(a domain.Address) *ippb.Address {
	ip := a.IP.String()
	return &ippb.Address{
		Id: a.ID, IpAddr: ip, Name: ip, State: a.State, Status: a.State, Family: domain.Family(a.IP), Ippool: a.PoolID,
		Ipnet: a.NetworkID, Network: a.NetworkID, IpnetName: a.CIDR.String(), Gateway: a.Gateway.String(),
		Mask: domain.Mask(a.CIDR), PrefixLength: clamp.Int32(a.CIDR.Bits()), Domain: a.Domain, Owner: a.Owner, Interface: a.Interface,
		Note: a.Note, Generation: a.Generation, PtrSerial: a.PTRSerial, DnsServers: each(a.DNS, netip.Addr.String), Vlan: number(a.VLAN),
	}
}

// number is a number or null.
func number(n *int32) *wrapperspb.Int32Value {
	if n == nil {
		return nil
	}
	return wrapperspb.Int32(*n)
}
