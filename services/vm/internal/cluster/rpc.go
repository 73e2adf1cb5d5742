// Package cluster keeps the clusters, and which pools of addresses serve them.
package cluster

import (
	"context"
	"errors"
	"fmt"

	ippb "slipway.dev/proto/ip/v3"
	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/pkg/audit"
	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/identity"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/vm/internal/listing"
)

// What every cluster is, in the dialect's words.
const (
	VirtualizationType = "kvm"
	DatacenterType     = "common"
)

// StorageName is what that storage is called.
const StorageName = "local"

// StorageID returns the id of a cluster's only storage, the directories of its nodes.
func StorageID(cluster int32) int32 { return cluster }

// Server answers vm.v3.ClusterService.
type Server struct {
	vmpb.UnimplementedClusterServiceServer
	db    *unit.DB
	pools ippb.PoolServiceClient
}

// NewServer returns a Server.
func NewServer(db *unit.DB, pools ippb.PoolServiceClient) *Server {
	return &Server{db: db, pools: pools}
}

// ListClusters lists clusters.
func (s *Server) ListClusters(ctx context.Context, r *vmpb.ListClustersRequest) (*vmpb.ListClustersResponse, error) {
	caller, _ := identity.From(ctx)
	l, err := page(ctx, s.db, r.GetQuery(), caller.AccountID)
	if err != nil {
		return nil, err
	}
	return &vmpb.ListClustersResponse{LastNotify: l.LastNotify, Size: l.Size, List: listing.Render(l.Rows, render)}, nil
}

// GetCluster reads one cluster.
func (s *Server) GetCluster(ctx context.Context, r *vmpb.GetClusterRequest) (*vmpb.Cluster, error) {
	caller, _ := identity.From(ctx)
	c, err := find(ctx, s.db, r.GetId(), caller.AccountID)
	if err != nil {
		return nil, err
	}
	return render(&c), nil
}

func render(c *item) *vmpb.Cluster {
	p := &vmpb.Cluster{
		Id: c.ID, Name: c.Name, VirtualizationType: VirtualizationType, DatacenterType: DatacenterType,
		HostDistributionPolicy: "spread", Overselling: c.Overselling, DomainTemplate: c.DomainTemplate, DnsServers: c.DNS,
		NodeCount: c.Nodes, HostCount: c.Hosts, AccountHostCount: c.OwnHosts, State: "active",
		AntiSpoofing: c.AntiSpoofing,
		CpuNumber:    &vmpb.ClusterUsage{Total: c.CPUs, Used: c.CPUsUsed},
		RamMib:       &vmpb.ClusterUsage{Total: c.RAM, Used: c.RAMUsed},
		StorageMib:   &vmpb.ClusterUsage{Total: c.Storage, Used: c.StorageUsed},
		Storage:      storage(c.ID), Storages: []*vmpb.ClusterStorage{storage(c.ID)}, NodeNetwork: &vmpb.ClusterNodeNetwork{},
	}
	for _, id := range c.Pools {
		p.Ippools = append(p.Ippools, &vmpb.ClusterPool{Id: id})
	}
	return p
}

// UpdateCluster changes a cluster. Its hosts follow at their next start.
func (s *Server) UpdateCluster(ctx context.Context, r *vmpb.UpdateClusterRequest) (*vmpb.UpdateClusterResponse, error) {
	err := s.db.InTx(ctx, func(tx *unit.Tx) error {
		before, now, err := setAntiSpoofing(ctx, tx, r.GetId(), r.AntiSpoofing)
		if err != nil {
			return err
		}
		audit.Of(ctx).Change(map[string]any{"anti_spoofing": before}, map[string]any{"anti_spoofing": now})
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &vmpb.UpdateClusterResponse{Id: r.GetId()}, nil
}

// storage renders the storage of a cluster.
func storage(cluster int32) *vmpb.ClusterStorage {
	return &vmpb.ClusterStorage{
		Id: StorageID(cluster), Name: StorageName, Type: "dir", Enabled: true, IsMain: true, VirtPool: &vmpb.StoragePool{},
	}
}

// BindPool checks that the clusters exist and has ip, which owns the pools, bind a pool to them.
func (s *Server) BindPool(ctx context.Context, r *vmpb.BindPoolRequest) (*vmpb.BindPoolResponse, error) {
	req := &ippb.SetPoolClustersRequest{PoolId: r.GetId()}
	for i, b := range r.GetClusters() {
		field := fmt.Sprintf("clusters[%d]", i)
		if b.GetId() <= 0 || b.GetInterface() < 0 {
			return nil, fault.Invalid.With("an id of a cluster and an interface from 0 are needed").On(field)
		}
		c, err := find(ctx, s.db, b.GetId(), 0)
		if errors.Is(err, fault.NotFound) {
			// Status 400: clients print the body of 400 only.
			return nil, fault.Invalid.With("there is no cluster %d", b.GetId()).On(field)
		}
		if err != nil {
			return nil, err
		}
		if b.Enabled != nil && !b.GetEnabled() {
			continue
		}
		req.Clusters = append(req.Clusters, &ippb.PoolCluster{Id: c.ID, Interface: b.GetInterface(), Name: c.Name})
	}
	if _, err := s.pools.SetPoolClusters(ctx, req); err != nil {
		return nil, err
	}
	return &vmpb.BindPoolResponse{Id: r.GetId()}, nil
}
