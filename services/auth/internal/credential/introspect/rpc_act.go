package introspect

import (
	"context"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/timestamppb"

	authpb "slipway.dev/proto/auth/v4"

	"slipway.dev/pkg/audit"
	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/identity"
	"slipway.dev/pkg/rpc"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/auth/internal/account"
)

// errSuspended refuses to let a service act for an account that may not log in.
var errSuspended = fault.New(codes.FailedPrecondition, "ACCOUNT_SUSPENDED", "the account is suspended")

// ActFor gives the calling service a limited identity of an active account.
func (s *Introspector) ActFor(ctx context.Context, r *authpb.ActForRequest) (*authpb.ActForResponse, error) {
	var i identity.Identity
	err := s.db.InTx(ctx, func(tx *unit.Tx) error {
		a, err := account.Load(ctx, tx, r.GetAccountId())
		if err != nil {
			return err
		}
		i = a.Identity(0, s.powers)
		i.Actor = rpc.CallerOf(ctx)
		i.Audience = i.Actor // at the services that let the caller act
		audit.Of(ctx).Actor(a.ID, i.Name())
		if a.State != account.Active {
			return errSuspended
		}
		only, err := s.powers.ActingScopes(i, r.GetScopes())
		if err != nil {
			return err
		}
		i.Limited, i.Only = true, only
		audit.Of(ctx).Change(nil, map[string]any{"scopes": only})
		return nil
	})
	if err != nil {
		return nil, err
	}
	text, expires, err := s.Sign(i, identity.MaxLife)
	if err != nil {
		return nil, err
	}
	return &authpb.ActForResponse{Identity: text, ExpiresAt: timestamppb.New(expires)}, nil
}
