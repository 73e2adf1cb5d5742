package setting

import (
	"context"
	"strconv"
	"time"

	"google.golang.org/grpc"

	ippb "slipway.dev/proto/ip/v3"

	"slipway.dev/pkg/unit"
)

type server struct {
	ippb.UnimplementedSettingServiceServer
	db         *unit.DB
	quarantine time.Duration // the default of quarantine_seconds
}

// Register adds the rpcs of settings to r. quarantine is the default of quarantine_seconds.
func Register(r grpc.ServiceRegistrar, db *unit.DB, quarantine time.Duration) {
	ippb.RegisterSettingServiceServer(r, &server{db: db, quarantine: quarantine})
}

// GetSetting returns a setting, or its default.
func (s *server) GetSetting(ctx context.Context, r *ippb.GetSettingRequest) (*ippb.Setting, error) {
	if err := checkName(r.GetName()); err != nil {
		return nil, err
	}
	value, err := load(ctx, s.db, r.GetName())
	if err != nil {
		return nil, err
	}
	if value == "" { // quarantine_seconds is the only setting
		value = strconv.Itoa(int(s.quarantine.Seconds()))
	}
	return &ippb.Setting{Name: r.GetName(), Value: value}, nil
}

// UpdateSetting changes a setting.
func (s *server) UpdateSetting(ctx context.Context, r *ippb.UpdateSettingRequest) (*ippb.Setting, error) {
	value, err := parseValue(r.GetName(), r.GetValue())
	if err != nil {
		return nil, err
	}
	if err := s.db.InTx(ctx, func(tx *unit.Tx) error { return save(ctx, tx, r.GetName(), value) }); err != nil {
		return nil, err
	}
	return &ippb.Setting{Name: r.GetName(), Value: value}, nil
}
