package server

import (
	"context"
	"net/netip"
	"strconv"

	ippb "slipway.dev/proto/ip/v3"

	"slipway.dev/pkg/audit"
	"slipway.dev/services/ip/internal/domain"
	"slipway.dev/services/ip/internal/store"
)

// CreateNetwork makes a network.
func (s *Server) CreateNetwork(ctx context.Context, r *ippb.CreateNetworkRequest) (*ippb.CreateNetworkResponse, error) {
	n, err := domain.NewNetwork(r.GetName(), r.GetType(), r.GetGateway(), r.GetNote())
	if err != nil {
		return nil, err
	}
	if err := n.SetDNS(r.GetDnsServers()); err != nil {
		return nil, err
	}
	if err := n.SetVLAN(r.GetVlan()); err != nil {
		return nil, err
	}
	var resp *ippb.CreateNetworkResponse
	err = s.store.InTx(ctx, func(tx store.Tx) error {
		id, err := tx.CreateNetwork(ctx, n)
		if err != nil {
			return err
		}
		audit.Of(ctx).Object("network", id)
		audit.Of(ctx).Change(nil, networkRecord(n))
		resp = &ippb.CreateNetworkResponse{Id: id}
		return tx.Answer(ctx, resp)
	})
	if err != nil {
		return nil, err
	}
	return resp, nil
}

// ListNetworks lists networks.
func (s *Server) ListNetworks(ctx context.Context, r *ippb.ListNetworksRequest) (*ippb.ListNetworksResponse, error) {
	l, err := s.store.Networks(ctx, r.GetQuery())
	if err != nil {
		return nil, err
	}
	return &ippb.ListNetworksResponse{LastNotify: l.LastNotify, Size: l.Size, List: each(l.Rows, network)}, nil
}

// GetNetwork reads one network.
func (s *Server) GetNetwork(ctx context.Context, r *ippb.GetNetworkRequest) (*ippb.Network, error) {
	n, err := s.store.Network(ctx, r.GetId())
	if err != nil {
		return nil, err
	}
	return network(n), nil
}

// UpdateNetwork changes what is given.
func (s *Server) UpdateNetwork(ctx context.Context, r *ippb.UpdateNetworkRequest) (*ippb.UpdateNetworkResponse, error) {
	if err := domain.CheckNote(r.GetNote()); err != nil {
		return nil, err
	}
	err := s.store.InTx(ctx, func(tx store.Tx) error {
		old, err := tx.Network(ctx, r.GetId())
		if err != nil {
			return err
		}
		n, err := changed(old, r)
		if err != nil {
			return err
		}
		if n.Type != old.Type {
			if err := tx.Activate(ctx, n); err != nil {
				return err
			}
		}
		audit.Of(ctx).Change(networkRecord(old), networkRecord(n))
		return tx.SaveNetwork(ctx, old, n)
	})
	if err != nil {
		return nil, err
	}
	return &ippb.UpdateNetworkResponse{Id: r.GetId()}, nil
}

func changed(n domain.Network, r *ippb.UpdateNetworkRequest) (domain.Network, error) {
	if r.Note != nil {
		n.Note = r.GetNote()
	}
	if r.Type != nil {
		if err := n.Become(r.GetType()); err != nil {
			return n, err
		}
	}
	if r.Gateway != nil {
		var err error
		if n.Gateway, err = n.ParseGateway(r.GetGateway()); err != nil {
			return n, err
		}
	}
	if r.DnsServers != nil {
		if err := n.SetDNS(r.GetDnsServers()); err != nil {
			return n, err
		}
	}
	if r.Vlan != nil {
		if err := n.SetVLAN(r.GetVlan()); err != nil {
			return n, err
		}
	}
	return n, nil
}

// DeleteNetwork removes a network that no range uses.
func (s *Server) DeleteNetwork(ctx context.Context, r *ippb.DeleteNetworkRequest) (*ippb.DeleteNetworkResponse, error) {
	err := s.store.InTx(ctx, func(tx store.Tx) error { return tx.DeleteNetwork(ctx, r.GetId()) })
	if err != nil {
		return nil, err
	}
	return &ippb.DeleteNetworkResponse{Id: r.GetId()}, nil
}

func network(n domain.Network) *ippb.Network {
	p := &ippb.Network{
		Id: n.ID, Name: n.CIDR.String(), Note: n.Note, Type: n.Type, Parent: number(n.Parent), Vlan: number(n.VLAN),
		Family: domain.Family(n.CIDR.Addr()), Size: domain.Size(n.CIDR), UsingIp: strconv.FormatInt(n.Used, 10),
		DnsServers: each(n.DNS, netip.Addr.String),
	}
	if n.Gateway.IsValid() {
		p.Gateway = n.Gateway.String()
	}
	return p
}

// networkRecord is what the audit log keeps of a network.
func networkRecord(n domain.Network) map[string]any {
	return map[string]any{"name": n.CIDR.String(), "gateway": n.Gateway.String(), "note": n.Note}
}

// each makes messages of rows; of none an empty list, never null.
func each[T, M any](rows []T, message func(T) M) []M {
	list := make([]M, len(rows))
	for i, r := range rows {
		list[i] = message(r)
	}
	return list
}
