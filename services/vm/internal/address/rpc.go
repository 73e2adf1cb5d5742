package address

import (
	"cmp"
	"context"

	querypb "slipway.dev/proto/query/v1"
	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/pkg/query"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/vm/internal/listing"
)

// Server answers the part of vm.v3.HostService that shows the addresses of hosts.
type Server struct{ db *unit.DB }

// NewServer returns a Server.
func NewServer(db *unit.DB) *Server { return &Server{db} }

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
			PtrState: a.PTRState, PtrError: a.PTRError,
			Host: &vmpb.HostIPHost{Id: id, Name: h.Name, InterfaceName: "eth0"},
		}
	})
	return l, list, nil
}
