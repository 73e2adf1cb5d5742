package address

import (
	"cmp"
	"context"
	"errors"

	ippb "slipway.dev/proto/ip/v3"
	querypb "slipway.dev/proto/query/v1"
	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/identity"
	"slipway.dev/pkg/query"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/vm/internal/listing"
)

// Server answers the part of vm.v3.HostService that shows and names the addresses of hosts.
type Server struct {
	db *unit.DB
	ip ippb.AddressServiceClient
}

// NewServer returns a Server.
func NewServer(db *unit.DB, ip ippb.AddressServiceClient) *Server { return &Server{db, ip} }

// SetPTR names an address of a host; an administrator may name any address that has an owner. vm's copy is written at
// once, so that a client reads what it wrote, and again by ip's event, in case vm dies before it writes.
func (s *Server) SetPTR(ctx context.Context, r *vmpb.SetPTRRequest) (*vmpb.SetPTRResponse, error) {
	req := &ippb.SetPTRRequest{Id: r.GetId(), Domain: r.GetDomain()}
	_, id, err := Holder(ctx, s.db, r.GetId(), listing.Owner(ctx))
	caller, _ := identity.From(ctx)
	switch {
	case err == nil:
		req.Owner = id.String()
	case !errors.Is(err, fault.NotFound) || !caller.Admin():
		return nil, err
	}
	resp, err := s.ip.SetPTR(ctx, req)
	if err != nil {
		return nil, err
	}
	err = s.db.InTx(ctx, func(tx *unit.Tx) error {
		return name(ctx, tx, r.GetId(), resp.GetPtrSerial(), resp.GetDomain())
	})
	return &vmpb.SetPTRResponse{Id: r.GetId()}, err
}

// ListHostIPv4 lists a host's IPv4 addresses.
func (s *Server) ListHostIPv4(ctx context.Context, r *vmpb.ListHostIPv4Request) (*vmpb.ListHostIPv4Response, error) {
	l, list, err := s.page(ctx, r.GetQuery(), r.GetId(), 4)
	if err != nil {
		return nil, err
	}
	return &vmpb.ListHostIPv4Response{LastNotify: l.LastNotify, Size: l.Size, List: list}, nil
}

// GetHostIPv6 returns the IPv6 addresses of a host.
func (s *Server) GetHostIPv6(ctx context.Context, r *vmpb.GetHostIPv6Request) (*vmpb.HostIPv6, error) {
	l, list, err := s.page(ctx, nil, r.GetId(), 6)
	if err != nil {
		return nil, err
	}
	p := &vmpb.HostIPv6{Ipv6Enabled: len(list) > 0, List: list}
	if len(list) > 0 {
		p.Ipv6Prefix = l.Rows[0].Prefix
	}
	return p, nil
}

// page returns a page of the addresses of one family.
func (s *Server) page(ctx context.Context, q *querypb.Query, id, family int32) (
	l query.Rows[item], list []*vmpb.HostIP, err error,
) {
	h, err := namesOf(ctx, s.db, id, listing.Owner(ctx))
	if err != nil {
		return l, nil, err
	}
	if l, err = page(ctx, s.db, q, id, family); err != nil {
		return l, nil, err
	}
	list = listing.Render(l.Rows, func(a *item) *vmpb.HostIP {
		return &vmpb.HostIP{
			Id: a.ID, IpAddr: a.Addr, Domain: cmp.Or(a.Domain, h.Domain), Gateway: a.Gateway, Mask: a.Mask, State: a.State,
			Family: a.Family, Ippool: a.Pool, Network: a.Network, ClusterInterface: a.Interface,
			Host: &vmpb.HostIPHost{Id: id, Name: h.Name, InterfaceName: "eth0"},
		}
	})
	return l, list, nil
}
