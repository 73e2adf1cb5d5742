package server

import (
	"context"
	"strconv"

	ippb "slipway.dev/proto/ip/v3"

	"slipway.dev/services/ip/internal/domain"
	"slipway.dev/services/ip/internal/store"
)

// CreateNetwork makes a network.
func (s *Server) CreateNetwork(ctx context.Context, r *ippb.CreateNetworkRequest) (*ippb.CreateNetworkResponse, error) {
	n, err := domain.NewNetwork(r.GetName(), r.GetGateway(), r.GetNote())
	if err != nil {
		return nil, err
	}
	var resp *ippb.CreateNetworkResponse
	err = s.store.InTx(ctx, func(tx store.Tx) error {
		id, err := tx.CreateNetwork(ctx, n)
		if err != nil {
			return err
		}
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

// UpdateNetwork changes the note or the gateway.
func (s *Server) UpdateNetwork(ctx context.Context, r *ippb.UpdateNetworkRequest) (*ippb.UpdateNetworkResponse, error) {
	if err := domain.CheckNote(r.GetNote()); err != nil {
		return nil, err
	}
	err := s.store.InTx(ctx, func(tx store.Tx) error {
		old, err := tx.Network(ctx, r.GetId())
		if err != nil {
			return err
		}
		n := old
		if r.Note != nil {
			n.Note = r.GetNote()
		}
		if r.Gateway != nil {
			if n.Gateway, err = old.ParseGateway(r.GetGateway()); err != nil {
				return err
			}
		}
		return tx.SaveNetwork(ctx, old, n)
	})
	if err != nil {
		return nil, err
	}
	return &ippb.UpdateNetworkResponse{Id: r.GetId()}, nil
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
	return &ippb.Network{
		Id: n.ID, Name: n.CIDR.String(), Gateway: n.Gateway.String(), Note: n.Note,
		Family: domain.Family(n.CIDR.Addr()), Size: domain.Size(n.CIDR), UsingIp: strconv.FormatInt(n.Used, 10),
	}
}

// each makes messages of rows; of none an empty list, never null.
func each[T, M any](rows []T, message func(T) M) []M {
	list := make([]M, len(rows))
	for i, r := range rows {
		list[i] = message(r)
	}
	return list
}
