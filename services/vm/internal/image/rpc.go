package image

import (
	"context"

	oppb "slipway.dev/proto/op/v1"
	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/pkg/audit"
	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/identity"
	"slipway.dev/pkg/stamp"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/vm/internal/listing"
	"slipway.dev/services/vm/internal/node"
	"slipway.dev/services/vm/internal/task"
)

// Server answers vm.v3.OSService.
type Server struct {
	vmpb.UnimplementedOSServiceServer
	db *unit.DB
}

// NewServer returns a Server.
func NewServer(db *unit.DB) *Server { return &Server{db: db} }

// ListOS lists OS templates.
func (s *Server) ListOS(ctx context.Context, r *vmpb.ListOSRequest) (*vmpb.ListOSResponse, error) {
	l, err := page(ctx, s.db, r.GetQuery(), listing.Owner(ctx) == 0)
	if err != nil {
		return nil, err
	}
	return &vmpb.ListOSResponse{LastNotify: l.LastNotify, Size: l.Size, List: listing.Render(l.Rows, render)}, nil
}

// GetOS reads one OS template.
func (s *Server) GetOS(ctx context.Context, r *vmpb.GetOSRequest) (*vmpb.OS, error) {
	o, err := find(ctx, s.db, r.GetId(), listing.Owner(ctx) == 0)
	if err != nil {
		return nil, err
	}
	return render(&o), nil
}

func render(o *item) *vmpb.OS {
	p := &vmpb.OS{
		Id: o.ID, Name: o.Name, Slug: o.Slug, State: o.State, OsGroup: o.Group, Adminonly: o.AdminOnly, Repository: "local",
		MinRamMib: o.MinRAM, HddMibRequired: o.MinDisk, CpuMode: "default", UpdatedAt: stamp.Text(o.UpdatedAt), Comment: o.Comment,
		Sha256: o.SHA256,
	}
	for _, c := range o.Clusters {
		p.Clusters = append(p.Clusters, &vmpb.OSCluster{Id: c.ID, Name: c.Name, UpdatedAt: p.GetUpdatedAt()})
	}
	for _, n := range o.Nodes {
		p.Nodes = append(p.Nodes, &vmpb.OSNode{Id: n.ID, Name: n.Name, IpAddr: node.HostOf(n.Endpoint), SshPort: node.SSHPort})
	}
	return p
}

// ListCatalogue lists the images that can be imported.
func (s *Server) ListCatalogue(ctx context.Context, r *vmpb.ListCatalogueRequest) (*vmpb.ListCatalogueResponse, error) {
	l, err := catalogue(ctx, s.db, r.GetQuery())
	if err != nil {
		return nil, err
	}
	return &vmpb.ListCatalogueResponse{LastNotify: l.LastNotify, Size: l.Size, List: listing.Render(l.Rows, renderImage)}, nil
}

func renderImage(i *image) *vmpb.CatalogueImage {
	return &vmpb.CatalogueImage{
		Name: i.Name, Title: i.Title, Url: i.URL, ChecksumsUrl: i.ChecksumsURL,
		MinRamMib: i.MinRAM, MinDiskMib: i.MinDisk, OsGroup: i.Group,
	}
}

// ImportOS starts the import of an image of the catalogue. A caller cannot name a URL: only those of the catalogue are
// read.
func (s *Server) ImportOS(ctx context.Context, r *vmpb.ImportOSRequest) (*oppb.Operation, error) {
	for _, i := range images {
		if i.Name == r.GetName() {
			return s.importImage(ctx, i)
		}
	}
	return nil, fault.NotFound.With("no image %.60q in the catalogue", r.GetName())
}

func (s *Server) importImage(ctx context.Context, i image) (*oppb.Operation, error) {
	caller, _ := identity.From(ctx)
	var op *oppb.Operation
	err := s.db.InTx(ctx, func(tx *unit.Tx) error {
		id, err := insert(ctx, tx, i)
		if err != nil {
			return err
		}
		audit.Of(ctx).Object("os", id)
		audit.Of(ctx).Change(nil, map[string]any{"name": i.Name})
		job, err := task.Enqueue(ctx, tx, importKind, "os/"+i.Name, caller.AccountID, 0, importArgs{Image: i})
		if err != nil {
			return err
		}
		op = task.Operation(id, job)
		return tx.Answer(ctx, op)
	})
	if err != nil {
		return nil, err
	}
	return op, nil
}
