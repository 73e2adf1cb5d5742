package server

import (
	"context"
	"fmt"

	ippb "slipway.dev/proto/ip/v3"
	oppb "slipway.dev/proto/op/v1"
	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/pkg/audit"
	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/identity"
	"slipway.dev/services/vm/internal/domain"
	"slipway.dev/services/vm/internal/store"
	"slipway.dev/services/vm/internal/work"
)

// What every cluster is, in the dialect's words.
const (
	virtualizationType = "kvm"
	datacenterType     = "common"
)

// ListClusters lists clusters.
func (s *Server) ListClusters(ctx context.Context, r *vmpb.ListClustersRequest) (*vmpb.ListClustersResponse, error) {
	l, err := s.store.Clusters(ctx, r.GetQuery())
	if err != nil {
		return nil, err
	}
	return &vmpb.ListClustersResponse{LastNotify: l.LastNotify, Size: l.Size, List: each(l.Rows, cluster)}, nil
}

// GetCluster reads one cluster.
func (s *Server) GetCluster(ctx context.Context, r *vmpb.GetClusterRequest) (*vmpb.Cluster, error) {
	c, err := s.store.Cluster(ctx, r.GetId())
	if err != nil {
		return nil, err
	}
	return cluster(&c), nil
}

func cluster(c *store.Cluster) *vmpb.Cluster {
	p := &vmpb.Cluster{
		Id: c.ID, Name: c.Name, VirtualizationType: virtualizationType, DatacenterType: datacenterType,
		HostDistributionPolicy: "spread", Overselling: c.Overselling, DomainTemplate: c.DomainTemplate, DnsServers: c.DNS,
		NodeCount: c.Nodes, HostCount: c.Hosts,
	}
	for _, id := range c.Pools {
		p.Ippools = append(p.Ippools, &vmpb.ClusterPool{Id: id})
	}
	return p
}

// BindPool checks that the clusters exist and tells ip, which owns the pools.
func (s *Server) BindPool(ctx context.Context, r *vmpb.BindPoolRequest) (*vmpb.BindPoolResponse, error) {
	req := &ippb.SetPoolClustersRequest{PoolId: r.GetId()}
	for i, b := range r.GetClusters() {
		field := fmt.Sprintf("clusters[%d]", i)
		if b.GetId() <= 0 || b.GetInterface() < 0 {
			return nil, fault.Invalid.With("an id of a cluster and an interface from 0 are needed").On(field)
		}
		c, err := s.store.Cluster(ctx, b.GetId())
		if err != nil {
			return nil, blame(err, field, "there is no cluster %d", b.GetId())
		}
		req.Clusters = append(req.Clusters, &ippb.PoolCluster{Id: c.ID, Interface: b.GetInterface(), Name: c.Name})
	}
	if _, err := s.peers.Pools.SetPoolClusters(ctx, req); err != nil {
		return nil, err
	}
	return &vmpb.BindPoolResponse{Id: r.GetId()}, nil
}

// ListOS lists OS templates.
func (s *Server) ListOS(ctx context.Context, r *vmpb.ListOSRequest) (*vmpb.ListOSResponse, error) {
	l, err := s.store.OSes(ctx, r.GetQuery(), owner(ctx) == 0)
	if err != nil {
		return nil, err
	}
	return &vmpb.ListOSResponse{LastNotify: l.LastNotify, Size: l.Size, List: each(l.Rows, osTemplate)}, nil
}

// GetOS reads one OS template.
func (s *Server) GetOS(ctx context.Context, r *vmpb.GetOSRequest) (*vmpb.OS, error) {
	o, err := s.store.OS(ctx, r.GetId(), owner(ctx) == 0)
	if err != nil {
		return nil, err
	}
	return osTemplate(&o), nil
}

func osTemplate(o *store.OS) *vmpb.OS {
	return &vmpb.OS{
		Id: o.ID, Name: o.Name, State: o.State, OsGroup: o.Group, Adminonly: o.AdminOnly, Clusters: o.Clusters, Repository: "local",
		MinRamMib: o.MinRAM, HddMibRequired: o.MinDisk, CpuMode: "default", UpdatedAt: date(o.UpdatedAt), Comment: o.Comment,
		Sha256: o.SHA256,
	}
}

// ListCatalogue lists the images that can be imported.
func (s *Server) ListCatalogue(ctx context.Context, r *vmpb.ListCatalogueRequest) (*vmpb.ListCatalogueResponse, error) {
	l, err := s.store.Catalogue(ctx, r.GetQuery())
	if err != nil {
		return nil, err
	}
	return &vmpb.ListCatalogueResponse{LastNotify: l.LastNotify, Size: l.Size, List: each(l.Rows, image)}, nil
}

func image(i *domain.Image) *vmpb.CatalogueImage {
	return &vmpb.CatalogueImage{
		Name: i.Name, Title: i.Title, Url: i.URL, ChecksumsUrl: i.ChecksumsURL,
		MinRamMib: i.MinRAM, MinDiskMib: i.MinDisk, OsGroup: i.Group,
	}
}

// ImportOS accepts a wish for an image of the catalogue. Addresses of images are ours alone: a caller cannot name one.
func (s *Server) ImportOS(ctx context.Context, r *vmpb.ImportOSRequest) (*oppb.Operation, error) {
	for _, i := range domain.Catalogue {
		if i.Name == r.GetName() {
			return s.importImage(ctx, i)
		}
	}
	return nil, fault.NotFound.With("no image %.60q in the catalogue", r.GetName())
}

func (s *Server) importImage(ctx context.Context, i domain.Image) (*oppb.Operation, error) {
	caller, _ := identity.From(ctx)
	var op *oppb.Operation
	err := s.store.InTx(ctx, func(tx store.Tx) error {
		id, err := tx.AwaitOS(ctx, store.OS{Name: i.Name, Group: i.Group, MinRAM: i.MinRAM, MinDisk: i.MinDisk})
		if err != nil {
			return err
		}
		audit.Of(ctx).Object("os", id)
		audit.Of(ctx).Change(nil, map[string]any{"name": i.Name})
		job, err := enqueue(ctx, tx, work.OSImport, "os/"+i.Name, caller.AccountID, work.Import{Image: i})
		if err != nil {
			return err
		}
		op = operation(id, job)
		return tx.Answer(ctx, op)
	})
	if err != nil {
		return nil, err
	}
	return op, nil
}

// ListAccounts lists accounts with the sum of their hosts.
func (s *Server) ListAccounts(ctx context.Context, r *vmpb.ListAccountsRequest) (*vmpb.ListAccountsResponse, error) {
	l, err := s.store.Accounts(ctx, r.GetQuery(), owner(ctx))
	if err != nil {
		return nil, err
	}
	return &vmpb.ListAccountsResponse{LastNotify: l.LastNotify, Size: l.Size, List: each(l.Rows, account)}, nil
}

// GetAccount reads one account.
func (s *Server) GetAccount(ctx context.Context, r *vmpb.GetAccountRequest) (*vmpb.Account, error) {
	a, err := s.store.Account(ctx, r.GetId(), owner(ctx))
	if err != nil {
		return nil, err
	}
	return account(&a), nil
}

func account(a *store.AccountItem) *vmpb.Account {
	return &vmpb.Account{
		Id: a.ID, Email: a.Email, State: a.State, Roles: a.Roles, AuthSource: "local",
		HostCount: a.Hosts, CpuCount: a.CPUs, RamMib: a.RAM, HddMib: a.Disk,
	}
}

// ListTasks lists tasks.
func (s *Server) ListTasks(ctx context.Context, r *vmpb.ListTasksRequest) (*vmpb.ListTasksResponse, error) {
	l, err := s.store.Tasks(ctx, r.GetQuery(), owner(ctx))
	if err != nil {
		return nil, err
	}
	return &vmpb.ListTasksResponse{LastNotify: l.LastNotify, Size: l.Size, List: each(l.Rows, task)}, nil
}

// GetTask reads one task with its steps, flat and nested: clients of both kinds are about.
func (s *Server) GetTask(ctx context.Context, r *vmpb.GetTaskRequest) (*vmpb.GetTaskResponse, error) {
	t, err := s.store.Task(ctx, r.GetId(), owner(ctx))
	if err != nil {
		return nil, err
	}
	steps, err := s.store.Steps(ctx, t.ID)
	if err != nil {
		return nil, err
	}
	p := task(&t)
	resp := &vmpb.GetTaskResponse{
		Task: p, Id: p.GetId(), ConsulId: p.GetConsulId(), Name: p.GetName(), Status: p.GetStatus(),
		RunningTime: p.GetRunningTime(), WaitingTime: p.GetWaitingTime(), Output: p.GetOutput(),
	}
	for _, st := range steps {
		resp.Steps = append(resp.Steps, &vmpb.TaskStep{Name: st.Name, State: string(st.State)})
	}
	return resp, nil
}

func task(t *store.Task) *vmpb.Task {
	return &vmpb.Task{
		Id: t.ID, ConsulId: t.ID, Name: t.Name, Status: t.Status, RunningTime: t.Running, WaitingTime: t.Waiting,
		Output: t.Output, Progress: fmt.Sprintf("%d steps done", t.Done), Host: t.Host, Account: t.Account, DateCreate: date(t.CreatedAt),
	}
}
