package setting

import (
	"cmp"
	"context"
	"strconv"
	"time"

	authpb "slipway.dev/proto/auth/v4"

	"slipway.dev/pkg/audit"
	"slipway.dev/pkg/clamp"
	"slipway.dev/pkg/unit"
)

// Settings answers the rpcs of SettingService.
type Settings struct {
	db  *unit.DB
	ttl time.Duration
}

// New makes a Settings. ttl is how long a session may be unused where token_ttl was never set.
func New(db *unit.DB, ttl time.Duration) *Settings { return &Settings{db, ttl} }

// ListSettings lists all settings.
func (s *Settings) ListSettings(ctx context.Context, _ *authpb.ListSettingsRequest) (*authpb.ListSettingsResponse, error) {
	values, last, err := readAll(ctx, s.db)
	if err != nil {
		return nil, err
	}
	all := settings()
	resp := &authpb.ListSettingsResponse{LastNotify: last, Size: clamp.Int32(len(all))}
	for _, k := range all {
		resp.List = append(resp.List, s.show(k, values[k.name]))
	}
	return resp, nil
}

// GetSetting reads a setting, or its default.
func (s *Settings) GetSetting(ctx context.Context, r *authpb.GetSettingRequest) (*authpb.Setting, error) {
	k, err := find(r.GetName())
	if err != nil {
		return nil, err
	}
	value, err := read(ctx, s.db, k.name)
	if err != nil {
		return nil, err
	}
	return s.show(k, value), nil
}

// UpdateSetting changes a setting. Every process reads it wherever it uses it.
func (s *Settings) UpdateSetting(ctx context.Context, r *authpb.UpdateSettingRequest) (*authpb.Setting, error) {
	k, err := find(r.GetName())
	if err != nil {
		return nil, err
	}
	value, err := k.parse(r.GetValue())
	if err != nil {
		return nil, err
	}
	err = s.db.InTx(ctx, func(tx *unit.Tx) error {
		audit.Of(ctx).Object("setting", string(k.name))
		audit.Of(ctx).Change(nil, map[string]any{"value": value})
		return write(ctx, tx, k.name, value)
	})
	if err != nil {
		return nil, err
	}
	return s.show(k, value), nil
}

// show renders a setting; "" stands for its default.
func (s *Settings) show(k setting, value string) *authpb.Setting {
	if k.name == tokenTTL {
		k.value = int(s.ttl / time.Minute)
	}
	otherwise := strconv.Itoa(k.value)
	return &authpb.Setting{
		Name: string(k.name), Value: cmp.Or(value, otherwise), DefaultValue: otherwise,
		Min: clamp.Int32(k.min), Max: clamp.Int32(k.max),
	}
}
