package server

import (
	"cmp"
	"context"
	"strconv"
	"time"

	authpb "slipway.dev/proto/auth/v4"

	"slipway.dev/services/auth/internal/domain"
	"slipway.dev/services/auth/internal/store"
)

// GetSetting reads a setting, or its default.
func (s *Server) GetSetting(ctx context.Context, r *authpb.GetSettingRequest) (*authpb.Setting, error) {
	if err := domain.CheckSettingName(r.GetName()); err != nil {
		return nil, err
	}
	value, err := s.store.Setting(ctx, r.GetName())
	if err != nil {
		return nil, err
	}
	value = cmp.Or(value, strconv.Itoa(int(s.TokenTTL/time.Minute))) // there is no other setting
	return &authpb.Setting{Name: r.GetName(), Value: value}, nil
}

// UpdateSetting changes a setting. Every process reads it with every use of a token.
func (s *Server) UpdateSetting(ctx context.Context, r *authpb.UpdateSettingRequest) (*authpb.Setting, error) {
	value, err := domain.NewSetting(r.GetName(), r.GetValue())
	if err != nil {
		return nil, err
	}
	err = s.store.InTx(ctx, func(tx store.Tx) error { return tx.SetSetting(ctx, r.GetName(), value) })
	if err != nil {
		return nil, err
	}
	return &authpb.Setting{Name: r.GetName(), Value: value}, nil
}
