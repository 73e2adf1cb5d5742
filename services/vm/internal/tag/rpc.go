package tag

import (
	"context"

	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/pkg/audit"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/vm/internal/listing"
)

// Server answers vm.v3.TagService.
type Server struct {
	vmpb.UnimplementedTagServiceServer
	db *unit.DB
}

// NewServer returns a Server.
func NewServer(db *unit.DB) *Server { return &Server{db: db} }

// ListTags lists the tags.
func (s *Server) ListTags(ctx context.Context, r *vmpb.ListTagsRequest) (*vmpb.ListTagsResponse, error) {
	l, err := page(ctx, s.db, r.GetQuery())
	if err != nil {
		return nil, err
	}
	return &vmpb.ListTagsResponse{LastNotify: l.LastNotify, Size: l.Size, List: listing.Render(l.Rows, render)}, nil
}

func render(t *item) *vmpb.Tag { return &vmpb.Tag{Id: t.ID, Name: t.Name, Note: t.Note} }

// CreateTag makes a tag.
func (s *Server) CreateTag(ctx context.Context, r *vmpb.CreateTagRequest) (*vmpb.CreateTagResponse, error) {
	if err := check(r.GetName(), r.GetNote()); err != nil {
		return nil, err
	}
	resp := &vmpb.CreateTagResponse{}
	err := s.db.InTx(ctx, func(tx *unit.Tx) (err error) {
		if resp.Id, err = insert(ctx, tx, r.GetName(), r.GetNote()); err != nil {
			return err
		}
		audit.Of(ctx).Object("tag", resp.GetId())
		audit.Of(ctx).Change(nil, map[string]any{"name": r.GetName(), "note": r.GetNote()})
		return tx.Answer(ctx, resp)
	})
	if err != nil {
		return nil, err
	}
	return resp, nil
}

// DeleteTag deletes a tag that no host has. A host that is about to get the tag holds it, so that one of both waits.
func (s *Server) DeleteTag(ctx context.Context, r *vmpb.DeleteTagRequest) (*vmpb.DeleteTagResponse, error) {
	err := s.db.InTx(ctx, func(tx *unit.Tx) error {
		name, err := lock(ctx, tx, r.GetId())
		if err != nil {
			return err
		}
		n, err := users(ctx, tx, name)
		if err != nil {
			return err
		}
		if n > 0 {
			return errInUse.With("%d hosts have the tag %s", n, name)
		}
		audit.Of(ctx).Change(map[string]any{"name": name}, nil)
		return remove(ctx, tx, r.GetId())
	})
	if err != nil {
		return nil, err
	}
	return &vmpb.DeleteTagResponse{Id: r.GetId(), Deleted: []*vmpb.DeletedTag{{Id: r.GetId()}}}, nil
}
