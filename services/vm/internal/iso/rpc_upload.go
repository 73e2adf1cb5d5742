package iso

import (
	"context"

	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/pkg/unit"
	"slipway.dev/services/vm/internal/host"
	"slipway.dev/services/vm/internal/listing"
	"slipway.dev/services/vm/internal/node"
)

// TakeISO carries an image to the node of a host on which it can be mounted. The upload ends with the caller and with the node.
func (s *Server) TakeISO(v vmpb.UpkeepService_TakeISOServer) error {
	ctx, cancel := context.WithCancel(v.Context())
	defer cancel() // a node that has not the whole image drops it
	first, err := v.Recv()
	if err != nil {
		return err
	}
	far, err := s.open(ctx, first.GetId())
	if err != nil {
		return err
	}
	if _, err := far.Recv(); err != nil {
		return err
	}
	if err := v.Send(&vmpb.TakeISOResponse{}); err != nil {
		return err
	}
	if err := carry(far, v); err != nil {
		return err
	}
	done, err := far.Recv()
	if err != nil {
		return err
	}
	return v.Send(&vmpb.TakeISOResponse{Upload: done.GetUpload()})
}

// open opens an upload for a host of the caller's at the agent of its node.
func (s *Server) open(ctx context.Context, id int32) (far taker, err error) {
	var h *host.Host
	var at node.Service
	err = s.db.InTx(ctx, func(tx *unit.Tx) error {
		h, err = host.Lock(ctx, tx, id, listing.Owner(ctx))
		if err == nil {
			err = mountable(ctx, tx, h)
		}
		if err != nil {
			return err
		}
		at, err = node.Find(ctx, tx, h.NodeID)
		return err
	})
	if err != nil {
		return nil, err
	}
	return begin(ctx, s.dial, at.Agent, h.UUID.String(), h.AccountID)
}
