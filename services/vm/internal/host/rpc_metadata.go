package host

import (
	"context"

	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/services/vm/internal/cluster"
	"slipway.dev/services/vm/internal/listing"
	"slipway.dev/services/vm/internal/node"
)

// GetHostMetadata reads what scripts that move a host need of it.
func (s *Server) GetHostMetadata(ctx context.Context, r *vmpb.GetHostMetadataRequest) (*vmpb.GetHostMetadataResponse, error) {
	h, err := findWhole(ctx, s.db, r.GetId(), listing.Owner(ctx))
	if err != nil {
		return nil, err
	}
	m := &vmpb.HostMetadata{
		Id: h.ID, Name: h.Name, InternalName: h.UUID.String(), Domain: h.Domain, Os: object(h.OSID), Cluster: object(h.ClusterID),
		Node: &vmpb.MetadataNode{Id: h.NodeID, IpAddr: node.HostOf(h.Endpoint)}, Account: object(h.AccountID),
		State:         &vmpb.MetadataState{Disabled: h.State == Stopped},
		BaseResources: &vmpb.MetadataResources{CpuNumber: h.CPUs, RamMib: h.RAM},
	}
	for _, d := range h.Disks {
		m.Disks = append(m.Disks, &vmpb.MetadataDisk{
			Id: d.ID, Name: d.Name, SizeMib: d.SizeMiB, BootOrder: d.BootOrder, Storage: object(cluster.StorageID(h.ClusterID)),
		})
	}
	for _, a := range h.Addresses {
		m.Ipv4 = append(m.Ipv4, &vmpb.MetadataAddress{IpAddr: a.Addr, IppoolId: a.Pool})
	}
	return &vmpb.GetHostMetadataResponse{Metadata: m}, nil
}

func object(id int32) *vmpb.MetadataObject { return &vmpb.MetadataObject{Id: id} }
