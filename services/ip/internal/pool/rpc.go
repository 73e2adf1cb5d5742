package pool

import (
	"context"
	"net/netip"

	"google.golang.org/grpc"

	ippb "slipway.dev/proto/ip/v3"

	"slipway.dev/pkg/audit"
	"slipway.dev/pkg/clamp"
	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/ip/internal/inet"
	"slipway.dev/services/ip/internal/message"
)

// Addresses is what pools have done to the addresses of their ranges. Addresses are a noun above pools, so it is passed
// in.
type Addresses struct {
	// Add makes the rows of a new range in which these gateways lie.
	Add func(ctx context.Context, tx *unit.Tx, id int32, r inet.Range, gateways []netip.Addr) error
	// Remove deletes the rows of a locked range, except those that have an owner. It returns how many of these there
	// are.
	Remove func(ctx context.Context, tx *unit.Tx, id int32) (owned int, err error)
}

type server struct {
	ippb.UnimplementedPoolServiceServer
	db        *unit.DB
	addresses Addresses
}

// Register adds the rpcs of pools to r.
func Register(r grpc.ServiceRegistrar, db *unit.DB, addresses Addresses) {
	ippb.RegisterPoolServiceServer(r, &server{db: db, addresses: addresses})
}

// CreatePool creates an empty pool.
func (s *server) CreatePool(ctx context.Context, r *ippb.CreatePoolRequest) (*ippb.CreatePoolResponse, error) {
	name, err := parseName(r.GetName())
	if err != nil {
		return nil, err
	}
	if err := check(r); err != nil {
		return nil, err
	}
	var resp *ippb.CreatePoolResponse
	err = s.db.InTx(ctx, func(tx *unit.Tx) error {
		id, err := create(ctx, tx, name, r.GetNote(), r.GetAccount())
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

// ListPools returns the pools that the query selects.
func (s *server) ListPools(ctx context.Context, r *ippb.ListPoolsRequest) (*ippb.ListPoolsResponse, error) {
	l, err := list(ctx, s.db, r.GetQuery())
	if err != nil {
		return nil, err
	}
	return &ippb.ListPoolsResponse{LastNotify: l.LastNotify, Size: l.Size, List: message.List(l.Rows, toProto)}, nil
}

// GetPool returns one pool.
func (s *server) GetPool(ctx context.Context, r *ippb.GetPoolRequest) (*ippb.Pool, error) {
	p, err := get(ctx, s.db, r.GetId())
	if err != nil {
		return nil, err
	}
	return toProto(p), nil
}

// GetPoolStats counts the addresses of a pool.
func (s *server) GetPoolStats(ctx context.Context, r *ippb.GetPoolStatsRequest) (*ippb.Stats, error) {
	if f := r.GetFamily(); f != 0 && f != 4 && f != 6 {
		return nil, fault.Invalid.With("%d is neither 4 nor 6", f).On("family")
	}
	return count(ctx, s.db, r.GetId(), r.GetFamily())
}

// UpdatePool changes the fields that the request has.
func (s *server) UpdatePool(ctx context.Context, r *ippb.UpdatePoolRequest) (*ippb.UpdatePoolResponse, error) {
	if r.Name != nil {
		name, err := parseName(r.GetName())
		if err != nil {
			return nil, err
		}
		r.Name = &name
	}
	if err := check(r); err != nil {
		return nil, err
	}
	err := s.db.InTx(ctx, func(tx *unit.Tx) error { return update(ctx, tx, r.GetId(), r.Name, r.Note, r.Account) })
	if err != nil {
		return nil, err
	}
	return &ippb.UpdatePoolResponse{Id: r.GetId()}, nil
}

// DeletePool deletes a pool and its ranges.
func (s *server) DeletePool(ctx context.Context, r *ippb.DeletePoolRequest) (*ippb.DeletePoolResponse, error) {
	err := s.db.InTx(ctx, func(tx *unit.Tx) error {
		if err := lockToRemove(ctx, tx, r.GetId()); err != nil {
			return err
		}
		ranges, err := rangesOf(ctx, tx, r.GetId())
		if err != nil {
			return err
		}
		for _, id := range ranges {
			if err := s.deleteRange(ctx, tx, id); err != nil {
				return err
			}
		}
		return remove(ctx, tx, r.GetId())
	})
	if err != nil {
		return nil, err
	}
	return &ippb.DeletePoolResponse{Id: r.GetId(), Deleted: []*ippb.DeletedObject{{Id: r.GetId()}}}, nil
}

// SetPoolClusters replaces the clusters of a pool.
func (s *server) SetPoolClusters(ctx context.Context, r *ippb.SetPoolClustersRequest) (*ippb.SetPoolClustersResponse, error) {
	list, err := parseClusters(r.GetClusters())
	if err != nil {
		return nil, err
	}
	err = s.db.InTx(ctx, func(tx *unit.Tx) error { return setClusters(ctx, tx, r.GetPoolId(), list) })
	if err != nil {
		return nil, err
	}
	return &ippb.SetPoolClustersResponse{}, nil
}

func toProto(p row) *ippb.Pool {
	return &ippb.Pool{
		Id: p.ID, Name: p.Name, Note: p.Note, Account: message.Number(p.Account), Ipv4: toFill(p.Total4, p.Used4), Ipv6: toFill(p.Total6, p.Used6),
		Clusters: message.List(p.Clusters, func(c cluster) *ippb.PoolCluster {
			return &ippb.PoolCluster{Id: c.ID, Interface: c.Interface, Name: c.Name}
		}),
	}
}

// toFill converts how full a pool is. The numbers of IPv6 addresses are cut to the largest that the message holds.
func toFill(total *int64, used int64) *ippb.Fill {
	if total == nil {
		return nil
	}
	return &ippb.Fill{Total: clamp.Int32(*total), Used: clamp.Int32(used)}
}
