package host

import (
	"context"

	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/pkg/audit"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/vm/internal/listing"
	"slipway.dev/services/vm/internal/tag"
)

// SetHostTags gives a host other tags. Nothing on the node depends on them, so there is no task.
func (s *Server) SetHostTags(ctx context.Context, r *vmpb.SetHostTagsRequest) (*vmpb.SetHostTagsResponse, error) {
	tags, err := tag.Sorted(r.GetTags())
	if err != nil {
		return nil, err
	}
	err = s.db.InTx(ctx, func(tx *unit.Tx) error {
		h, err := Lock(ctx, tx, r.GetId(), listing.Owner(ctx))
		if err != nil {
			return err
		}
		if h.State == Deleting {
			return ErrDeleting
		}
		if err := tag.Hold(ctx, tx, tags); err != nil {
			return err
		}
		audit.Of(ctx).Change(map[string]any{"tags": h.Tags}, map[string]any{"tags": tags})
		h.Tags = tags
		if err := Save(ctx, tx, h); err != nil {
			return err
		}
		return Emit(ctx, tx, h, "updated")
	})
	if err != nil {
		return nil, err
	}
	return &vmpb.SetHostTagsResponse{Id: r.GetId()}, nil
}
