package server

import (
	"context"
	"math"
	"strconv"

	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	authpb "slipway.dev/proto/auth/v4"
	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/pkg/clamp"
	"slipway.dev/pkg/fault"
	"slipway.dev/services/vm/internal/domain"
	"slipway.dev/services/vm/internal/store"
)

// GetLimits reads the limits of the caller's account, or of anybody's for those who may.
func (s *Server) GetLimits(ctx context.Context, r *vmpb.GetLimitsRequest) (*vmpb.Limits, error) {
	if o := owner(ctx); o != 0 && o != r.GetId() {
		return nil, noAccount(r.GetId())
	}
	if err := s.knowAccount(ctx, r.GetId()); err != nil {
		return nil, err
	}
	l, err := s.store.Limits(ctx, r.GetId())
	if err != nil {
		return nil, err
	}
	limit := func(res domain.Resource) *wrapperspb.Int32Value {
		if l.Max[res] == nil {
			return nil
		}
		return wrapperspb.Int32(*l.Max[res])
	}
	used := func(res domain.Resource) int32 { return clamp.Int32(l.Used[res]) }
	return &vmpb.Limits{
		Account:   &vmpb.LimitsAccount{Id: r.GetId()},
		HostCount: limit(domain.HostCount), HostCountTotal: limit(domain.HostCount), HostCountUsed: used(domain.HostCount),
		CpuNumber: limit(domain.CPUNumber), CpuNumberTotal: limit(domain.CPUNumber), CpuNumberUsed: used(domain.CPUNumber),
		RamMib: limit(domain.RAMMiB), RamMibTotal: limit(domain.RAMMiB), RamMibUsed: used(domain.RAMMiB),
		HddMib: limit(domain.HDDMiB), HddMibTotal: limit(domain.HDDMiB), HddMibUsed: used(domain.HDDMiB),
		Ipv4Number: limit(domain.IPv4Number), Ipv4NumberTotal: limit(domain.IPv4Number), Ipv4NumberUsed: used(domain.IPv4Number),
	}, nil
}

// SetLimits changes limits of an account.
func (s *Server) SetLimits(ctx context.Context, r *vmpb.SetLimitsRequest) (*vmpb.SetLimitsResponse, error) {
	given := [len(domain.Resources)][2]*structpb.Value{
		domain.HostCount:  {r.GetHostCount(), r.GetHostCountTotal()},
		domain.CPUNumber:  {r.GetCpuNumber(), r.GetCpuNumberTotal()},
		domain.RAMMiB:     {r.GetRamMib(), r.GetRamMibTotal()},
		domain.HDDMiB:     {r.GetHddMib(), r.GetHddMibTotal()},
		domain.IPv4Number: {r.GetIpv4Number(), r.GetIpv4NumberTotal()},
	}
	wanted := map[domain.Resource]*int32{}
	for i, spellings := range given {
		for j, v := range spellings {
			if v == nil {
				continue
			}
			limit, err := limitOf(v, domain.Resources[i]+[]string{"", "_total"}[j])
			if err != nil {
				return nil, err
			}
			wanted[domain.Resource(i)] = limit
		}
	}
	if err := s.knowAccount(ctx, r.GetId()); err != nil {
		return nil, err
	}
	err := s.store.InTx(ctx, func(tx store.Tx) error {
		for res, limit := range wanted {
			if err := tx.SetLimit(ctx, r.GetId(), res, limit); err != nil {
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

func noAccount(id int32) error { return fault.NotFound.With("no account %d", id) }

// knowAccount makes sure that there is such an account. vm's copy of the accounts may lag behind auth, so a miss asks auth.
func (s *Server) knowAccount(ctx context.Context, id int32) error {
	if _, err := s.store.Account(ctx, id, 0); err == nil {
		return nil
	}
	if id <= 0 {
		return noAccount(id)
	}
	u, err := s.peers.Users.GetUser(ctx, &authpb.GetUserRequest{Id: id})
	if err != nil {
		return err
	}
	return s.store.Aside(ctx, func(tx store.Tx) error { return tx.KeepAccount(ctx, copyOf(u)) })
}
