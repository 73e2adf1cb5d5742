package pool

import (
	"context"

	ippb "slipway.dev/proto/ip/v3"

	"slipway.dev/pkg/audit"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/ip/internal/inet"
	"slipway.dev/services/ip/internal/message"
)

// AddRange adds addresses to a pool.
func (s *server) AddRange(ctx context.Context, r *ippb.AddRangeRequest) (*ippb.AddRangeResponse, error) {
	run, err := inet.ParseRange(r.GetName())
	if err != nil {
		return nil, err
	}
	if err := inet.CheckHosts("name", run); err != nil {
		return nil, err
	}
	var resp *ippb.AddRangeResponse
	err = s.db.InTx(ctx, func(tx *unit.Tx) error {
		id, gateways, err := addRange(ctx, tx, r.GetId(), run)
		if err != nil {
			return err
		}
		if err := s.addresses.Add(ctx, tx, id, run, gateways); err != nil {
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

// ListRanges returns the ranges that the query selects, of all pools.
func (s *server) ListRanges(ctx context.Context, r *ippb.ListRangesRequest) (*ippb.ListRangesResponse, error) {
	l, err := listRanges(ctx, s.db, r.GetQuery())
	if err != nil {
		return nil, err
	}
	return &ippb.ListRangesResponse{LastNotify: l.LastNotify, Size: l.Size, List: message.List(l.Rows, func(r rangeRow) *ippb.Range {
		return &ippb.Range{Id: r.ID, Name: r.Name, Ippool: r.PoolID, Ipnet: r.NetworkID}
	})}, nil
}

// DeleteRange deletes a range.
func (s *server) DeleteRange(ctx context.Context, r *ippb.DeleteRangeRequest) (*ippb.DeleteRangeResponse, error) {
	err := s.db.InTx(ctx, func(tx *unit.Tx) error { return s.deleteRange(ctx, tx, r.GetId()) })
	if err != nil {
		return nil, err
	}
	return &ippb.DeleteRangeResponse{Id: r.GetId(), Deleted: []*ippb.DeletedObject{{Id: r.GetId()}}}, nil
}

// deleteRange deletes a range of which no address has an owner. Addresses in quarantine do not count: a caller that
// deletes a range wants its addresses out of the pool.
func (s *server) deleteRange(ctx context.Context, tx *unit.Tx, id int32) error {
	name, err := lockRange(ctx, tx, id)
	if err != nil {
		return err
	}
	owned, err := s.addresses.Remove(ctx, tx, id)
	if err != nil {
		return err
	}
	if owned > 0 {
		return errInUse.With("%d addresses of the range %s are in use", owned, name)
	}
	return removeRange(ctx, tx, id)
}
