package address

import (
	"context"
	"net/netip"

	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/pkg/clamp"
	"slipway.dev/services/vm/internal/listing"
)

// ListHostPTR lists the addresses of a host by network, with the names that they resolve to.
func (s *Server) ListHostPTR(ctx context.Context, r *vmpb.ListHostPTRRequest) (*vmpb.ListHostPTRResponse, error) {
	if _, err := namesOf(ctx, s.db, r.GetId(), listing.Owner(ctx)); err != nil {
		return nil, err
	}
	resp := &vmpb.ListHostPTRResponse{}
	for _, family := range []int32{4, 6} {
		l, err := page(ctx, s.db, nil, r.GetId(), family)
		if err != nil {
			return nil, err
		}
		resp.List = append(resp.List, byNetwork(l.Rows)...)
	}
	resp.Size = clamp.Int32(len(resp.List))
	return resp, nil
}

// byNetwork groups addresses of one family by their networks, in the order of the first of each.
func byNetwork(rows []item) (list []*vmpb.HostPTRNetwork) {
	at := map[int32]*vmpb.HostPTRNetwork{}
	for _, a := range rows {
		n := at[a.Network]
		if n == nil {
			n = &vmpb.HostPTRNetwork{Family: a.Family, Gateway: a.Gateway, Network: networkOf(a), Prefix: a.Prefix}
			at[a.Network], list = n, append(list, n)
		}
		n.Ip = append(n.Ip, &vmpb.HostPTR{Id: a.ID, Name: a.Addr, Domain: a.Domain, Status: a.PTRState})
		n.IpCount++
	}
	return list
}

// networkOf returns the network of an address without its prefix length.
func networkOf(a item) string {
	addr, err := netip.ParseAddr(a.Addr)
	if err != nil {
		return ""
	}
	p, err := addr.Prefix(int(a.Prefix))
	if err != nil {
		return ""
	}
	return p.Addr().String()
}
