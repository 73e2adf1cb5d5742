package server

import (
	"cmp"
	"context"
	"strconv"
	"time"

	authpb "slipway.dev/proto/auth/v4"

	"slipway.dev/pkg/audit"
	"slipway.dev/pkg/clamp"
	"slipway.dev/services/auth/internal/domain"
	"slipway.dev/services/auth/internal/store"
)

// ListSettings lists all settings.
func (s *Server) ListSettings(ctx context.Context, _ *authpb.ListSettingsRequest) (*authpb.ListSettingsResponse, error) {
	values, last, err := s.store.Settings(ctx)
	if err != nil {
		return nil, err
	}
	resp := &authpb.ListSettingsResponse{LastNotify: last, Size: clamp.Int32(len(domain.Settings))}
	for _, k := range domain.Settings {
		resp.List = append(resp.List, s.setting(k, values[k.Name]))
	}
	return resp, nil
}

// GetSetting reads a setting, or its default.
func (s *Server) GetSetting(ctx context.Context, r *authpb.GetSettingRequest) (*authpb.Setting, error) {
	k, err := domain.SettingOf(r.GetName())
	if err != nil {
		return nil, err
	}
	value, err := s.store.Setting(ctx, k.Name)
	if err != nil {
		return nil, err
	}
	return s.setting(k, value), nil
}

// UpdateSetting changes a setting. Every process reads it wherever it uses it.
func (s *Server) UpdateSetting(ctx context.Context, r *authpb.UpdateSettingRequest) (*authpb.Setting, error) {
	k, err := domain.SettingOf(r.GetName())
	if err != nil {
		return nil, err
	}
	value, err := k.Value(r.GetValue())
	if err != nil {
		return nil, err
	}
	err = s.store.InTx(ctx, func(tx store.Tx) error {
		audit.Of(ctx).Object("setting", k.Name)
		audit.Of(ctx).Change(nil, map[string]any{"value": value})
		return tx.SetSetting(ctx, k.Name, value)
	})
	if err != nil {
		return nil, err
	}
	return s.setting(k, value), nil
}

// setting renders a setting; "" stands for its default.
func (s *Server) setting(k domain.Setting, value string) *authpb.Setting {
	if k.Name == domain.TokenTTL {
		k.Default = int(s.TokenTTL / time.Minute)
	}
	otherwise := strconv.Itoa(k.Default)
	return &authpb.Setting{
		Name: k.Name, Value: cmp.Or(value, otherwise), DefaultValue: otherwise,
		Min: clamp.Int32(k.Min), Max: clamp.Int32(k.Max),
	}
}
