package vm

import (
	"context"

	authpb "slipway.dev/proto/auth/v4"
	ippb "slipway.dev/proto/ip/v3"

	"slipway.dev/pkg/bus"
	"slipway.dev/pkg/service"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/vm/internal/store"
)

// consumers apply the events of auth and ip to vm's copies of accounts, pools, addresses and networks. vm writes the release
// of an address itself, except when a reservation expires.
var consumers = []service.Consumer{
	{Name: "vm-auth", From: "auth", On: map[string]bus.Handle{
		"auth.v4.user.created": service.On(keepAccount),
		"auth.v4.user.updated": service.On(keepAccount),
		"auth.v4.user.deleted": service.On(func(ctx context.Context, tx *unit.Tx, e *authpb.UserDeleted) error {
			return store.Tx{Tx: tx}.DropAccount(ctx, e.GetId())
		}),
	}},
	{Name: "vm-ip", From: "ip", On: map[string]bus.Handle{
		"ip.v3.pool.bound": service.On(func(ctx context.Context, tx *unit.Tx, e *ippb.PoolBound) error {
			return store.Tx{Tx: tx}.KeepPool(ctx, e.GetId(), e.GetClusterIds())
		}),
		"ip.v3.address.released": service.On(func(ctx context.Context, tx *unit.Tx, e *ippb.AddressReleased) error {
			return store.Tx{Tx: tx}.DropAddress(ctx, e.GetId(), e.GetGeneration(), e.GetOwner())
		}),
		"ip.v3.address.named": service.On(func(ctx context.Context, tx *unit.Tx, e *ippb.AddressNamed) error {
			return store.Tx{Tx: tx}.NameAddress(ctx, e.GetId(), e.GetSerial(), e.GetDomain())
		}),
		"ip.v3.network.changed": service.On(func(ctx context.Context, tx *unit.Tx, e *ippb.NetworkChanged) error {
			return store.Tx{Tx: tx}.KeepNetwork(ctx, e.GetId(), e.GetGateway(), e.GetDnsServers())
		}),
	}},
}

func keepAccount(ctx context.Context, tx *unit.Tx, e *authpb.UserChanged) error {
	return store.Tx{Tx: tx}.KeepAccount(ctx, store.Account{
		ID: e.GetId(), Email: e.GetEmail(), Roles: e.GetRoles(), State: e.GetState(),
	})
}
