package server

import (
	"context"
	"strconv"

	ippb "slipway.dev/proto/ip/v3"

	"slipway.dev/pkg/clamp"
	"slipway.dev/pkg/crash"
	"slipway.dev/services/ip/internal/domain"
	"slipway.dev/services/ip/internal/store"
)

// Where a change is kept and not yet answered.
var (
	pointReserve = crash.At("ip.reserve.committed")
	pointConfirm = crash.At("ip.confirm.committed")
	pointRelease = crash.At("ip.release.committed")
)

// Reserve takes addresses for an owner, or answers those that were taken under the same key.
func (s *Server) Reserve(ctx context.Context, r *ippb.ReserveRequest) (*ippb.ReserveResponse, error) {
	w, err := domain.Want{
		Owner: r.GetOwner(), Key: r.GetKey(), Cluster: r.GetClusterId(), Account: r.GetAccountId(), OfNetwork: r.GetNetworkId(),
		Pools: r.GetPoolIds(), IPv4: int(r.GetIpv4Count()), IPv6: int(r.GetIpv6Count()),
	}.Check(r.GetLapseSeconds(), r.GetWish())
	if err != nil {
		return nil, err
	}
	list, err := s.store.Reserve(ctx, w)
	if err != nil {
		return nil, err
	}
	pointReserve.Hit()
	return &ippb.ReserveResponse{Addresses: each(list, address)}, nil
}

// Confirm makes reservations permanent.
func (s *Server) Confirm(ctx context.Context, r *ippb.ConfirmRequest) (*ippb.ConfirmResponse, error) {
	owner, key, err := claimOf(r)
	if err != nil {
		return nil, err
	}
	if err := s.store.InTx(ctx, func(tx store.Tx) error { return tx.Confirm(ctx, owner, key) }); err != nil {
		return nil, err
	}
	pointConfirm.Hit()
	return &ippb.ConfirmResponse{}, nil
}

// claimOf reads an owner and a key, which may be empty.
func claimOf(r interface {
	GetOwner() string
	GetKey() string
},
) (owner, key string, err error) {
	if owner, err = domain.ParseOwner(r.GetOwner()); err != nil || r.GetKey() == "" {
		return owner, "", err
	}
	key, err = domain.ParseKey(r.GetKey())
	return owner, key, err
}

// Release gives back addresses of an owner.
func (s *Server) Release(ctx context.Context, r *ippb.ReleaseRequest) (*ippb.ReleaseResponse, error) {
	owner, key, err := claimOf(r)
	if err != nil {
		return nil, err
	}
	named := each(r.GetAddresses(), func(a *ippb.HeldAddress) domain.Held {
		return domain.Held{ID: a.GetId(), Generation: a.GetGeneration()}
	})
	var n int
	var refused []int32
	err = s.store.InTx(ctx, func(tx store.Tx) error {
		n, refused, err = tx.Release(ctx, owner, key, named, int(s.quarantine.Seconds()))
		return err
	})
	if err != nil {
		return nil, err
	}
	pointRelease.Hit()
	return &ippb.ReleaseResponse{Released: clamp.Int32(n), Refused: refused}, nil
}

// quarantineSeconds is the setting, or what the service was started with.
func (s *Server) quarantineSeconds(ctx context.Context) (int, error) {
	text, err := s.store.Setting(ctx, domain.QuarantineSeconds)
	if err != nil || text == "" {
		return int(s.quarantine.Seconds()), err
	}
	return strconv.Atoi(text)
}

// GetSetting reads a setting, or its default.
func (s *Server) GetSetting(ctx context.Context, r *ippb.GetSettingRequest) (*ippb.Setting, error) {
	if err := domain.CheckSettingName(r.GetName()); err != nil {
		return nil, err
	}
	n, err := s.quarantineSeconds(ctx) // there is no other setting
	if err != nil {
		return nil, err
	}
	return &ippb.Setting{Name: r.GetName(), Value: strconv.Itoa(n)}, nil
}

// UpdateSetting changes a setting.
func (s *Server) UpdateSetting(ctx context.Context, r *ippb.UpdateSettingRequest) (*ippb.Setting, error) {
	value, err := domain.NewSetting(r.GetName(), r.GetValue())
	if err != nil {
		return nil, err
	}
	if err := s.store.InTx(ctx, func(tx store.Tx) error { return tx.SetSetting(ctx, r.GetName(), value) }); err != nil {
		return nil, err
	}
	return &ippb.Setting{Name: r.GetName(), Value: value}, nil
}
