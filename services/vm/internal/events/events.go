// Package events says which events of other services vm takes in, and which room makes their effects.
package events

import (
	"slipway.dev/pkg/bus"
	"slipway.dev/pkg/service"
	"slipway.dev/services/vm/internal/account"
	"slipway.dev/services/vm/internal/address"
	"slipway.dev/services/vm/internal/cluster"
	"slipway.dev/services/vm/internal/host"
	"slipway.dev/services/vm/internal/ipchange"
)

// Consumers apply the events of auth and ip to vm's copies of accounts, pools, addresses and networks. vm writes the
// release of an address itself, except when a reservation expires.
var Consumers = []service.Consumer{
	{Name: "vm-auth", From: "auth", On: map[string]bus.Handle{
		"auth.v4.user.created": service.Newest(account.Changed),
		"auth.v4.user.updated": service.Newest(account.Changed),
		"auth.v4.user.deleted": service.Newest(host.AccountDeleted),
	}},
	{Name: "vm-ip", From: "ip", On: map[string]bus.Handle{
		"ip.v3.pool.bound":        service.Newest(cluster.PoolBound),
		"ip.v3.address.released":  service.On(ipchange.Released),
		"ip.v3.address.named":     service.On(ipchange.Named),
		"ip.v3.address.published": service.On(address.Published),
		"ip.v3.network.changed":   service.Newest(address.NetworkChanged),
	}},
}
