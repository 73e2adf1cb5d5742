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
	spare, err := spareLimits(ctx, s.db, r.GetId())
	if err != nil {
		return nil, err
	}
	limit := func(res resource) *wrapperspb.Int32Value { return number(l.Max[res]) }
	used := func(res resource) int32 { return clamp.Int32(l.Used[res]) }
	return &vmpb.Limits{
		Account:   &vmpb.LimitsAccount{Id: r.GetId()},
		HostCount: limit(HostCount), HostCountTotal: limit(HostCount), HostCountUsed: used(HostCount),
		CpuNumber: limit(CPUNumber), CpuNumberTotal: limit(CPUNumber), CpuNumberUsed: used(CPUNumber),
		RamMib: limit(RAMMiB), RamMibTotal: limit(RAMMiB), RamMibUsed: used(RAMMiB),
		HddMib: limit(HDDMiB), HddMibTotal: limit(HDDMiB), HddMibUsed: used(HDDMiB),
		Ipv4Number: limit(IPv4Number), Ipv4NumberTotal: limit(IPv4Number), Ipv4NumberUsed: used(IPv4Number),
		ImageCount: number(spare.Images), ImageCountTotal: number(spare.Images), VxlanCountTotal: number(spare.VXLANs),
	}, nil
}

// number returns a limit as answers show it.
func number(limit *int32) *wrapperspb.Int32Value {
	if limit == nil {
		return nil
	}
	return wrapperspb.Int32(*limit)
}

// SetLimits changes limits of an account.
func (s *Server) SetLimits(ctx context.Context, r *vmpb.SetLimitsRequest) (*vmpb.SetLimitsResponse, error) {
	wanted, err := wantedLimits(map[string][2]*structpb.Value{
		resources[HostCount]:  {r.GetHostCount(), r.GetHostCountTotal()},
		resources[CPUNumber]:  {r.GetCpuNumber(), r.GetCpuNumberTotal()},
		resources[RAMMiB]:     {r.GetRamMib(), r.GetRamMibTotal()},
		resources[HDDMiB]:     {r.GetHddMib(), r.GetHddMibTotal()},
		resources[IPv4Number]: {r.GetIpv4Number(), r.GetIpv4NumberTotal()},
		imageCount:            {r.GetImageCount(), r.GetImageCountTotal()},
		vxlanCount:            {nil, r.GetVxlanCountTotal()},
	})
	if err != nil {
		return nil, err
	}
	if err := s.know(ctx, r.GetId()); err != nil {
		return nil, err
	}
	err = s.db.InTx(ctx, func(tx *unit.Tx) error {
		for name, limit := range wanted {
			if err := setLimit(ctx, tx, r.GetId(), name, limit); err != nil {
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

// wantedLimits returns the limits that a request names. Each has two spellings: the second, with _total, takes precedence.
func wantedLimits(given map[string][2]*structpb.Value) (map[string]*int32, error) {
	wanted := map[string]*int32{}
	for name, spellings := range given {
		for i, v := range spellings {
			if v == nil {
				continue
			}
			limit, err := limitOf(v, name+[]string{"", "_total"}[i])
			if err != nil {
				return nil, err
			}
			wanted[name] = limit
		}
	}
	return wanted, nil
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
