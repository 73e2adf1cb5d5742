package gateway_test

import (
	"context"
	"strings"

	"google.golang.org/protobuf/types/known/wrapperspb"

	authpb "slipway.dev/proto/auth/v4"

	"slipway.dev/pkg/fault"
)

// What else the user of fakeAuth has: an API key and an access token, as long as real ones are.
var (
	fakeAPIKey = "slw_" + strings.Repeat("k", 43) + "_000000"
	fakeAccess = strings.Repeat("h", 70) + "." + strings.Repeat("p", 250) + "." + strings.Repeat("s", 86)
)

// fakeAPIKeys knows the key 7.
type fakeAPIKeys struct {
	authpb.UnimplementedAPIKeyServiceServer
}

func (fakeAPIKeys) CreateAPIKey(_ context.Context, r *authpb.CreateAPIKeyRequest) (*authpb.CreateAPIKeyResponse, error) {
	if len(r.GetScopes()) != 1 {
		return nil, fault.Denied.With("users.write is more than you may do").On("scopes")
	}
	return &authpb.CreateAPIKeyResponse{Id: 7, Key: fakeAPIKey}, nil
}

func (fakeAPIKeys) ListAPIKeys(context.Context, *authpb.ListAPIKeysRequest) (*authpb.ListAPIKeysResponse, error) {
	return &authpb.ListAPIKeysResponse{LastNotify: 1, Size: 2, List: []*authpb.APIKey{
		{
			Id: 7, AccountId: 4, Name: "billing", Hint: "slw_kkkk", Scopes: []string{"vms.read"}, Cidrs: []string{"192.0.2.0/24"},
			ExpiresAt: wrapperspb.String("2030-01-31 00:00:00"), Created: "2026-01-01 00:00:00",
			LastUsed: wrapperspb.String("2026-01-02 00:00:00"), LastIp: wrapperspb.String("192.0.2.7"),
		},
		{Id: 8, AccountId: 4, Name: "all", Hint: "slw_aaaa", Scopes: []string{"*"}, Created: "2026-01-01 00:00:00"},
	}}, nil
}

func (fakeAPIKeys) UpdateAPIKey(_ context.Context, r *authpb.UpdateAPIKeyRequest) (*authpb.UpdateAPIKeyResponse, error) {
	if r.GetName() == nil || r.GetExpiresAt() != nil || r.GetCidrs() != nil || r.GetScopes() != nil {
		return nil, fault.Invalid.With("the only one expected").On("name")
	}
	return &authpb.UpdateAPIKeyResponse{Id: r.GetId()}, nil
}

func (fakeAPIKeys) DeleteAPIKey(_ context.Context, r *authpb.DeleteAPIKeyRequest) (*authpb.DeleteAPIKeyResponse, error) {
	if r.GetId() != 7 {
		return nil, fault.NotFound.With("no such API key")
	}
	return &authpb.DeleteAPIKeyResponse{Id: r.GetId()}, nil
}
