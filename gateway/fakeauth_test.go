package gateway_test

import (
	"context"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/wrapperspb"

	authpb "slipway.dev/proto/auth/v4"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/identity"
)

func (a *fakeAuth) CreateSession(_ context.Context, r *authpb.CreateSessionRequest) (*authpb.Token, error) {
	if r.GetPassword() != "secret" {
		return nil, fault.New(codes.Unauthenticated, "INVALID_PASSWORD", "Invalid password")
	}
	return &authpb.Token{Id: 3, Token: "3-cafe", Confirmed: true}, nil
}

func (a *fakeAuth) GetSelfSession(ctx context.Context, _ *authpb.GetSelfSessionRequest) (*authpb.TokenInfo, error) {
	i, _ := identity.From(ctx)
	return &authpb.TokenInfo{Id: i.SessionID, Kind: "session", AccountId: i.AccountID, ValidUntil: wrapperspb.String("2030-01-31 00:00:00")}, nil
}

// fakeKeys redeems "4-key" alone.
type fakeKeys struct {
	authpb.UnimplementedKeyServiceServer
}

func (fakeKeys) RedeemKey(_ context.Context, r *authpb.RedeemKeyRequest) (*authpb.RedeemKeyResponse, error) {
	if r.GetKey() == "4-later" {
		return nil, fault.Unavailable
	}
	if r.GetKey() != "4-key" {
		return nil, fault.New(codes.Unauthenticated, "INVALID_KEY", "Unauthorized: the key is unknown, used or expired")
	}
	return &authpb.RedeemKeyResponse{Id: "4", Token: "4-cafe", Confirmed: true}, nil
}

func (a *fakeAuth) CreateToken(context.Context, *authpb.CreateTokenRequest) (*authpb.Token, error) {
	return &authpb.Token{Id: 3, Token: "3-long", Confirmed: true}, nil
}
