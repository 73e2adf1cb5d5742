package ipchange

import (
	"context"
	"errors"

	ippb "slipway.dev/proto/ip/v3"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/vm/internal/address"
	"slipway.dev/services/vm/internal/host"
)

// Named keeps the name that ip gave an address.
func Named(ctx context.Context, tx *unit.Tx, n *ippb.AddressNamed) error {
	return named(ctx, tx, n.GetId(), n.GetSerial(), n.GetDomain(), n.GetState())
}

// named keeps the name of an address, unless a newer one is kept already. The domain of a host follows the name of
// its main address; without a name the host keeps its domain, because a guest needs one.
func named(ctx context.Context, tx *unit.Tx, ip, serial int32, name, state string) error {
	ids, err := address.Holders(ctx, tx, ip)
	if err != nil {
		return err
	}
	var hosts []*host.Host
	for _, id := range ids { // hosts are locked before their addresses
		h, err := host.Lock(ctx, tx, id, 0)
		if errors.Is(err, fault.NotFound) {
			continue
		}
		if err != nil {
			return err
		}
		hosts = append(hosts, h)
	}
	changed, err := address.Name(ctx, tx, ip, serial, name, state)
	if err != nil || !changed || name == "" {
		return err
	}
	for _, h := range hosts {
		list, err := address.Of(ctx, tx, h.ID)
		if err != nil {
			return err
		}
		if main, ok := mainOf(list); ok && main.IPID == ip {
			if err := host.SetDomain(ctx, tx, h, name); err != nil {
				return err
			}
		}
	}
	return nil
}

// followMain gives a host the name of the address that is its main one now that others are gone.
func followMain(ctx context.Context, tx *unit.Tx, id int32, gone []address.Address) error {
	list, err := address.Of(ctx, tx, id)
	if err != nil {
		return err
	}
	was, ok := mainOf(append(gone, list...))
	is, left := mainOf(list)
	if !ok || !left || was.IPID == is.IPID || is.Domain == "" {
		return nil
	}
	h, err := host.Lock(ctx, tx, id, 0)
	if err != nil {
		return err
	}
	return host.SetDomain(ctx, tx, h, is.Domain)
}
