package account

import (
	"context"
	"math"
	"strconv"

	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/pkg/clamp"
	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/pg"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/vm/internal/listing"
)

// GetLimits reads the limits of the caller's account, or of any account if the caller sees all.
func (s *Server) GetLimits(ctx context.Context, r *vmpb.GetLimitsRequest) (*vmpb.Limits, error) {
	if o := listing.Owner(ctx); o != 0 && o != r.GetId() {
		return nil, pg.Missing("account", r.GetId())
	}
	if err := s.know(ctx, r.GetId()); err != nil {
		return nil, err
	}
	l, err := limits(ctx, s.db, r.GetId())
	if err != nil {
		return nil, err
	}
	limit := func(res resource) *wrapperspb.Int32Value {
		if l.Max[res] == nil {
			return nil
		}
		return wrapperspb.Int32(*l.Max[res])
	}
	used := func(res resource) int32 { return clamp.Int32(l.Used[res]) }
	return &vmpb.Limits{
		Account:   &vmpb.LimitsAccount{Id: r.GetId()},
		HostCount: limit(HostCount), HostCountTotal: limit(HostCount), HostCountUsed: used(HostCount),
		CpuNumber: limit(CPUNumber), CpuNumberTotal: limit(CPUNumber), CpuNumberUsed: used(CPUNumber),
		RamMib: limit(RAMMiB), RamMibTotal: limit(RAMMiB), RamMibUsed: used(RAMMiB),
		HddMib: limit(HDDMiB), HddMibTotal: limit(HDDMiB), HddMibUsed: used(HDDMiB),
		Ipv4Number: limit(IPv4Number), Ipv4NumberTotal: limit(IPv4Number), Ipv4NumberUsed: used(IPv4Number),
	}, nil
}

// SetLimits changes limits of an account.
func (s *Server) SetLimits(ctx context.Context, r *vmpb.SetLimitsRequest) (*vmpb.SetLimitsResponse, error) {
	given := [len(resources)][2]*structpb.Value{
		HostCount:  {r.GetHostCount(), r.GetHostCountTotal()},
		CPUNumber:  {r.GetCpuNumber(), r.GetCpuNumberTotal()},
		RAMMiB:     {r.GetRamMib(), r.GetRamMibTotal()},
		HDDMiB:     {r.GetHddMib(), r.GetHddMibTotal()},
		IPv4Number: {r.GetIpv4Number(), r.GetIpv4NumberTotal()},
	}
	wanted := map[resource]*int32{}
	for i, spellings := range given {
		for j, v := range spellings {
			if v == nil {
				continue
			}
			limit, err := limitOf(v, resources[i]+[]string{"", "_total"}[j])
			if err != nil {
				return nil, err
			}
			wanted[resource(i)] = limit
		}
	}
	if err := s.know(ctx, r.GetId()); err != nil {
		return nil, err
	}
	err := s.db.InTx(ctx, func(tx *unit.Tx) error {
		for res, limit := range wanted {
			if err := setLimit(ctx, tx, r.GetId(), res, limit); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &vmpb.SetLimitsResponse{Id: r.GetId()}, nil
}

// limitOf reads a limit: null, or a whole number, in quotes or not.
func limitOf(v *structpb.Value, field string) (*int32, error) {
	var n float64
	switch k := v.GetKind().(type) {
	case *structpb.Value_NullValue:
		return nil, nil
	case *structpb.Value_NumberValue:
		n = k.NumberValue
	case *structpb.Value_StringValue:
		whole, err := strconv.ParseInt(k.StringValue, 10, 32)
		if err != nil {
			whole = -1
		}
		n = float64(whole)
	default:
		n = -1
	}
	if !(n >= 0 && n <= math.MaxInt32) || n != math.Trunc(n) { // this form refuses NaN too
		return nil, fault.Invalid.With("a whole number from 0, or null for no limit").On(field)
	}
	limit := int32(n)
	return &limit, nil
}

// know checks that there is such an account.
func (s *Server) know(ctx context.Context, id int32) error {
	if id <= 0 {
		return pg.Missing("account", id)
	}
	return s.dir.Find(ctx, id)
}
