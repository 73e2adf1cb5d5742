// Package keys gets from auth the keys that verify who asks.
package keys

import (
	"context"
	"crypto/ed25519"

	"google.golang.org/grpc"

	authpb "slipway.dev/proto/auth/v4"
)

// From returns what an identity.Verifier fetches its keys with.
func From(auth grpc.ClientConnInterface) func(context.Context) (map[string]ed25519.PublicKey, error) {
	c := authpb.NewTokenServiceClient(auth)
	return func(ctx context.Context) (map[string]ed25519.PublicKey, error) {
		resp, err := c.ListKeys(ctx, &authpb.ListKeysRequest{})
		if err != nil {
			return nil, err
		}
		keys := make(map[string]ed25519.PublicKey, len(resp.GetKeys()))
		for _, k := range resp.GetKeys() {
			keys[k.GetId()] = k.GetKey()
		}
		return keys, nil
	}
}
