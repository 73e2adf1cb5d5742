package server

import (
	"context"

	ippb "slipway.dev/proto/ip/v3"

	"slipway.dev/pkg/audit"
	"slipway.dev/pkg/clamp"
	"slipway.dev/pkg/fault"
	"slipway.dev/services/ip/internal/domain"
	"slipway.dev/services/ip/internal/store"
)

// CreatePool makes an empty pool.
func (s *Server) CreatePool(ctx context.Context, r *ippb.CreatePoolRequest) (*ippb.CreatePoolResponse, error) {
	name, err := domain.PoolName(r.GetName())
	if err != nil {
		return nil, err
	}
	if err := checkPool(r); err != nil {
		return nil, err
	}
	var resp *ippb.CreatePoolResponse
	err = s.store.InTx(ctx, func(tx store.Tx) error {
		id, err := tx.CreatePool(ctx, name, r.GetNote(), r.GetAccount())
		if err != nil {
			return err
		}
		audit.Of(ctx).Object("pool", id)
		audit.Of(ctx).Change(nil, map[string]any{"name": name, "note": r.GetNote(), "account": r.GetAccount()})
		resp = &ippb.CreatePoolResponse{Id: id}
		return tx.Answer(ctx, resp)
	})
	if err != nil {
		return nil, err
	}
	return resp, nil
}

func checkPool(r interface {
	GetNote() string
	GetAccount() int32
},
) error {
	if a := r.GetAccount(); a < 0 {
		return fault.Invalid.With("there is no account %d", a).On("account")
	}
	return domain.CheckNote(r.GetNote())
}

// ListPools lists pools.
func (s *Server) ListPools(ctx context.Context, r *ippb.ListPoolsRequest) (*ippb.ListPoolsResponse, error) {
	l, err := s.store.Pools(ctx, r.GetQuery())
	if err != nil {
		return nil, err
	}
	return &ippb.ListPoolsResponse{LastNotify: l.LastNotify, Size: l.Size, List: each(l.Rows, pool)}, nil
}

// GetPool reads one pool.
func (s *Server) GetPool(ctx context.Context, r *ippb.GetPoolRequest) (*ippb.Pool, error) {
	p, err := s.store.Pool(ctx, r.GetId())
	if err != nil {
		return nil, err
	}
	return pool(p), nil
}

// UpdatePool changes name, note and account.
func (s *Server) UpdatePool(ctx context.Context, r *ippb.UpdatePoolRequest) (*ippb.UpdatePoolResponse, error) {
	if r.Name != nil {
		name, err := domain.PoolName(r.GetName())
		if err != nil {
			return nil, err
		}
		r.Name = &name
	}
	if err := checkPool(r); err != nil {
		return nil, err
	}
	err := s.store.InTx(ctx, func(tx store.Tx) error { return tx.UpdatePool(ctx, r.GetId(), r.Name, r.Note, r.Account) })
	if err != nil {
		return nil, err
	}
	return &ippb.UpdatePoolResponse{Id: r.GetId()}, nil
}

// DeletePool removes a pool and its ranges.
func (s *Server) DeletePool(ctx context.Context, r *ippb.DeletePoolRequest) (*ippb.DeletePoolResponse, error) {
	err := s.store.InTx(ctx, func(tx store.Tx) error { return tx.DeletePool(ctx, r.GetId()) })
	if err != nil {
		return nil, err
	}
	return &ippb.DeletePoolResponse{Id: r.GetId()}, nil
}

// SetPoolClusters binds a pool to clusters.
func (s *Server) SetPoolClusters(ctx context.Context, r *ippb.SetPoolClustersRequest) (*ippb.SetPoolClustersResponse, error) {
	var list []store.Cluster
	seen := map[int32]bool{}
	for _, c := range r.GetClusters() {
		switch {
		case c.GetId() <= 0 || c.GetInterface() < 0:
			return nil, fault.Invalid.With("cluster %d, interface %d", c.GetId(), c.GetInterface()).On("clusters")
		case seen[c.GetId()]:
			return nil, fault.Invalid.With("cluster %d is listed twice", c.GetId()).On("clusters")
		}
		seen[c.GetId()] = true
		list = append(list, store.Cluster{ID: c.GetId(), Interface: c.GetInterface(), Name: c.GetName()})
	}
	err := s.store.InTx(ctx, func(tx store.Tx) error { return tx.SetPoolClusters(ctx, r.GetPoolId(), list) })
	if err != nil {
		return nil, err
	}
	return &ippb.SetPoolClustersResponse{}, nil
}

// AddRange adds addresses to a pool.
func (s *Server) AddRange(ctx context.Context, r *ippb.AddRangeRequest) (*ippb.AddRangeResponse, error) {
	run, err := domain.ParseRange(r.GetName())
	if err != nil {
		return nil, err
	}
	var resp *ippb.AddRangeResponse
	err = s.store.InTx(ctx, func(tx store.Tx) error {
		id, err := tx.AddRange(ctx, r.GetId(), run)
		if err != nil {
			return err
		}
		audit.Of(ctx).Object("range", id)
		audit.Of(ctx).Change(nil, map[string]any{"pool": r.GetId(), "name": r.GetName()})
		resp = &ippb.AddRangeResponse{Id: id}
		return tx.Answer(ctx, resp)
	})
	if err != nil {
		return nil, err
	}
	return resp, nil
}

// ListRanges lists the ranges of all pools.
func (s *Server) ListRanges(ctx context.Context, r *ippb.ListRangesRequest) (*ippb.ListRangesResponse, error) {
	l, err := s.store.Ranges(ctx, r.GetQuery())
	if err != nil {
		return nil, err
	}
	return &ippb.ListRangesResponse{LastNotify: l.LastNotify, Size: l.Size, List: each(l.Rows, func(r store.Range) *ippb.Range {
		return &ippb.Range{Id: r.ID, Name: r.Name, Ippool: r.PoolID, Ipnet: r.NetworkID}
	})}, nil
}

// DeleteRange removes a range.
func (s *Server) DeleteRange(ctx context.Context, r *ippb.DeleteRangeRequest) (*ippb.DeleteRangeResponse, error) {
	err := s.store.InTx(ctx, func(tx store.Tx) error { return tx.DeleteRange(ctx, r.GetId()) })
	if err != nil {
		return nil, err
	}
	return &ippb.DeleteRangeResponse{Id: r.GetId()}, nil
}

func pool(p store.Pool) *ippb.Pool {
	return &ippb.Pool{
		Id: p.ID, Name: p.Name, Note: p.Note, Account: number(p.Account), Ipv4: fill(p.Total4, p.Used4), Ipv6: fill(p.Total6, p.Used6),
		Clusters: each(p.Clusters, func(c store.Cluster) *ippb.PoolCluster {
			return &ippb.PoolCluster{Id: c.ID, Interface: c.Interface, Name: c.Name}
		}),
	}
}

// fill says "very many" of what an IPv6 range has.
func fill(total *int64, used int64) *ippb.Fill {
	if total == nil {
		return nil
	}
	return &ippb.Fill{Total: clamp.Int32(*total), Used: clamp.Int32(used)}
}
