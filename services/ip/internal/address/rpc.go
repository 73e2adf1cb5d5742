package address

import (
	"context"
	"net/netip"

	ippb "slipway.dev/proto/ip/v3"

	"slipway.dev/pkg/audit"
	"slipway.dev/pkg/clamp"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/ip/internal/inet"
	"slipway.dev/services/ip/internal/message"
	"slipway.dev/services/ip/internal/pool"
	"slipway.dev/services/ip/internal/rdns"
)

// ListAddresses returns the addresses that the query selects.
func (s *server) ListAddresses(ctx context.Context, r *ippb.ListAddressesRequest) (*ippb.ListAddressesResponse, error) {
	l, err := list(ctx, s.db, r.GetQuery())
	if err != nil {
		return nil, err
	}
	return &ippb.ListAddressesResponse{LastNotify: l.LastNotify, Size: l.Size, List: message.List(l.Rows, s.show)}, nil
}

// GetAddress returns one address.
func (s *server) GetAddress(ctx context.Context, r *ippb.GetAddressRequest) (*ippb.Address, error) {
	a, err := get(ctx, s.db, r.GetId())
	if err != nil {
		return nil, err
	}
	return s.show(a), nil
}

// HoldAddress reserves an address without an owner.
func (s *server) HoldAddress(ctx context.Context, r *ippb.HoldAddressRequest) (*ippb.HoldAddressResponse, error) {
	a, err := get(ctx, s.db, r.GetId())
	if err != nil {
		return nil, err
	}
	return s.hold(ctx, a.PoolID, a.IP, r.GetNote())
}

// HoldPoolAddress reserves an address of a pool without an owner.
func (s *server) HoldPoolAddress(ctx context.Context, r *ippb.HoldPoolAddressRequest) (*ippb.HoldAddressResponse, error) {
	ip, err := inet.ParseAddress("ip_addr", r.GetIpAddr())
	if err != nil {
		return nil, err
	}
	if err := pool.Check(ctx, s.db, r.GetId()); err != nil {
		return nil, err
	}
	return s.hold(ctx, r.GetId(), ip, r.GetNote())
}

func (s *server) hold(ctx context.Context, poolID int32, ip netip.Addr, note string) (*ippb.HoldAddressResponse, error) {
	if err := message.CheckNote(note); err != nil {
		return nil, err
	}
	var id int32
	err := s.db.InTx(ctx, func(tx *unit.Tx) (err error) {
		if id, err = hold(ctx, tx, poolID, ip, note); err != nil {
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

// FreeAddress frees an address that has no owner.
func (s *server) FreeAddress(ctx context.Context, r *ippb.FreeAddressRequest) (*ippb.FreeAddressResponse, error) {
	if err := s.db.InTx(ctx, func(tx *unit.Tx) error { return free(ctx, tx, r.GetId()) }); err != nil {
		return nil, err
	}
	return &ippb.FreeAddressResponse{Id: r.GetId()}, nil
}

// SetPTR sets the name that an address resolves to.
func (s *server) SetPTR(ctx context.Context, r *ippb.SetPTRRequest) (*ippb.SetPTRResponse, error) {
	name, err := rdns.ParseName(r.GetDomain())
	if err != nil {
		return nil, err
	}
	owner := r.GetOwner()
	if owner != "" {
		if owner, err = parseOwner(owner); err != nil {
			return nil, err
		}
	}
	var serial int32
	state := s.newState(name)
	err = s.db.InTx(ctx, func(tx *unit.Tx) error {
		serial, err = setPTR(ctx, tx, r.GetId(), owner, name, state)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &ippb.SetPTRResponse{Domain: name, PtrSerial: serial, PtrState: state}, nil
}

// newState returns the state of a name that is set now.
func (s *server) newState(name string) string {
	switch {
	case name == "":
		return ""
	case s.published:
		return "waiting"
	default:
		return "kept"
	}
}

// show renders an address with what the name servers say of it.
func (s *server) show(a shown) *ippb.Address {
	p := toProto(a.row)
	p.PtrState, p.PtrError = a.PTRState, a.PTRError
	if a.PTRState != "" && !s.published {
		p.PtrState, p.PtrError = "kept", ""
	}
	return p
}

func toProto(a row) *ippb.Address {
	ip := a.IP.String()
	return &ippb.Address{
		Id: a.ID, IpAddr: ip, Name: ip, State: a.State, Status: a.State, Family: inet.Family(a.IP), Ippool: a.PoolID,
		Ipnet: a.NetworkID, Network: a.NetworkID, IpnetName: a.CIDR.String(), Gateway: inet.Text(a.Gateway),
		Mask: inet.Mask(a.CIDR), PrefixLength: clamp.Int32(a.CIDR.Bits()), Domain: a.Domain, Owner: a.Owner, Interface: a.Interface,
		Note: a.Note, Generation: a.Generation, PtrSerial: a.PTRSerial, DnsServers: message.List(a.DNS, netip.Addr.String), Vlan: message.Number(a.VLAN),
	}
}
