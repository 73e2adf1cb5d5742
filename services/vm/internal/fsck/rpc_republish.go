package fsck

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"google.golang.org/protobuf/types/known/timestamppb"

	outboxpb "slipway.dev/proto/outbox/v1"
	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/stamp"
)

// RepublishEvents has services send their events again. Each of them records that.
func (s *Server) RepublishEvents(ctx context.Context, r *vmpb.RepublishEventsRequest) (*vmpb.RepublishEventsResponse, error) {
	since, err := stamp.Parse(r.GetSince())
	if err != nil {
		return nil, fault.Invalid.With("%s", err).On("since")
	}
	names := slices.Sorted(maps.Keys(s.events))
	if r.GetService() != "" {
		if _, ok := s.events[r.GetService()]; !ok {
			return nil, fault.NotFound.With("no service %.40q", r.GetService()).On("service")
		}
		names = []string{r.GetService()}
	}
	resp := &vmpb.RepublishEventsResponse{}
	for _, name := range names {
		one, err := s.events[name].Outbox.Republish(ctx, &outboxpb.RepublishRequest{Since: timestamppb.New(since)})
		if err != nil {
			return nil, fmt.Errorf("events of %s: %w", name, err)
		}
		resp.Events += one.GetEvents()
	}
	return resp, nil
}
