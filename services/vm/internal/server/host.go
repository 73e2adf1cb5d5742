package server

import (
	"context"
	"net"

	"google.golang.org/genproto/googleapis/api/httpbody"
	"google.golang.org/protobuf/types/known/wrapperspb"

	nodepb "slipway.dev/proto/node/v1"
	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/pkg/fault"
	"slipway.dev/services/vm/internal/store"
)

// ListHosts lists the hosts that the caller may see.
func (s *Server) ListHosts(ctx context.Context, r *vmpb.ListHostsRequest) (*vmpb.ListHostsResponse, error) {
	l, err := s.store.Hosts(ctx, r.GetQuery(), owner(ctx))
	if err != nil {
		return nil, err
	}
	return &vmpb.ListHostsResponse{LastNotify: l.LastNotify, Size: l.Size, List: each(l.Rows, host)}, nil
}

// GetHost reads one host.
func (s *Server) GetHost(ctx context.Context, r *vmpb.GetHostRequest) (*vmpb.Host, error) {
	item, err := s.store.HostItem(ctx, r.GetId(), owner(ctx))
	if err != nil {
		return nil, err
	}
	return host(&item), nil
}

func host(h *store.HostItem) *vmpb.Host {
	p := &vmpb.Host{
		Id: h.ID, Name: h.Name, Comment: h.Comment, State: h.State, Domain: h.Domain, CpuNumber: h.CPUs, RamMib: h.RAM,
		Disk:    &vmpb.HostDisk{Id: h.DiskID, DiskMib: h.DiskMiB, Name: h.DiskName},
		Cluster: &vmpb.HostCluster{Id: h.ClusterID, Name: h.Cluster, DatacenterType: datacenterType, VirtualizationType: virtualizationType},
		Node:    &vmpb.HostNode{Id: h.NodeID, Name: h.Node, IpAddr: endpointHost(h.Endpoint), MaintenanceMode: h.Maintenance},
		Account: &vmpb.HostAccount{Id: h.AccountID, Email: h.Email},
		Os:      &vmpb.HostOS{Id: h.OSID, Name: h.OS},
		OsName:  h.OS, OsGroup: h.OSGroup, DiskCount: h.DiskCount,
		Ip4: addresses(h.IP4), Ip6: addresses(h.IP6),
		Interfaces:   []*vmpb.HostInterface{{HostInterface: "eth0", Mac: h.MAC, NodeInterface: h.Bridge}},
		AntiSpoofing: h.AntiSpoofing, CreateDate: date(h.CreatedAt), InternalName: h.UUID.String(), CpuMode: "default",
	}
	if h.Task != nil {
		p.Task = wrapperspb.Int32(*h.Task)
	}
	return p
}

func addresses(list []string) []*vmpb.HostAddress {
	out := make([]*vmpb.HostAddress, len(list))
	for i, ip := range list {
		out[i] = &vmpb.HostAddress{Ip: ip}
	}
	return out
}

// endpointHost is the address of an agent without its port; the agent of this very process has none.
func endpointHost(endpoint string) string {
	h, _, err := net.SplitHostPort(endpoint)
	if err != nil {
		return "127.0.0.1"
	}
	return h
}

// ListHostHistory lists the operations on a host.
func (s *Server) ListHostHistory(ctx context.Context, r *vmpb.ListHostHistoryRequest) (*vmpb.ListHostHistoryResponse, error) {
	if _, err := s.store.HostItem(ctx, r.GetId(), owner(ctx)); err != nil {
		return nil, err
	}
	tasks, err := s.store.History(ctx, r.GetQuery(), r.GetId())
	if err != nil {
		return nil, err
	}
	resp := &vmpb.ListHostHistoryResponse{Size: tasks.Size}
	for _, t := range tasks.Rows {
		resp.MaxId = max(resp.MaxId, t.ID)
		resp.List = append(resp.List, &vmpb.HistoryItem{
			Id: t.ID, Name: t.Name, State: t.Status, Task: t.ID, DateCreate: date(t.CreatedAt),
		})
	}
	return resp, nil
}

// consoleMax bounds what one answer carries of a console.
const consoleMax = 256 << 10

// GetHostConsole gives the tail of the serial console. What a guest writes there is its own business: it goes out as
// plain text.
func (s *Server) GetHostConsole(ctx context.Context, r *vmpb.GetHostConsoleRequest) (*httpbody.HttpBody, error) {
	if r.GetBytes() < 0 || r.GetBytes() > consoleMax {
		return nil, fault.Invalid.With("not between 1 and %d", consoleMax).On("bytes")
	}
	h, err := s.store.HostItem(ctx, r.GetId(), owner(ctx))
	if err != nil {
		return nil, err
	}
	agent, err := s.peers.Dial(h.Endpoint)
	if err != nil {
		return nil, err
	}
	c, err := agent.ReadConsole(ctx, &nodepb.ReadConsoleRequest{Machine: h.UUID.String(), MaxBytes: r.GetBytes()})
	if err != nil {
		return nil, err
	}
	return &httpbody.HttpBody{ContentType: "text/plain; charset=utf-8", Data: c.GetText()}, nil
}
