package address

import (
	"context"
	"time"

	"github.com/google/uuid"

	ippb "slipway.dev/proto/ip/v3"

	"slipway.dev/pkg/fault"
)

// Asker says which fields of a client's request ask for addresses: those that name one, and those that name pools.
type Asker struct{ One, Pools string }

// field returns what the client calls a field of a reservation, "" for what no client asks for.
func (a Asker) field(name string) string {
	return map[string]string{
		"wish": a.One, "network_id": a.One, "any_count": a.One, "pool_ids": a.Pools,
		"ipv4_count": "ipv4_number", "ipv6_count": "ipv6_enabled",
	}[name]
}

// Reserver reserves addresses at ip for requests under way.
type Reserver struct{ IP ippb.AddressServiceClient }

// Reserve reserves addresses, all that are asked for or none. A fault names the field of the client's request.
func (r Reserver) Reserve(ctx context.Context, c Claim) ([]Address, error) {
	resp, err := r.IP.Reserve(ctx, c.ReserveRequest)
	if f, ok := fault.From(err); ok && f.Field != "" {
		return nil, f.On(c.By.field(f.Field))
	}
	if err != nil {
		return nil, err
	}
	list := make([]Address, len(resp.GetAddresses()))
	for i, a := range resp.GetAddresses() {
		list[i] = Address{
			IPID: a.GetId(), Family: a.GetFamily(), Prefix: a.GetPrefixLength(), PoolID: a.GetIppool(), NetworkID: a.GetIpnet(),
			Interface: a.GetInterface(), Addr: a.GetIpAddr(), Mask: a.GetMask(), Gateway: a.GetGateway(), DNS: a.GetDnsServers(),
			State: Active, Generation: a.GetGeneration(), PTRSerial: a.GetPtrSerial(),
		}
	}
	return list, c.accept(list)
}

// Withhold has ip hold an address that its host cannot have, so that no other host gets it until an administrator frees
// it. It may run twice: what the host does not hold any more is left alone.
func Withhold(ctx context.Context, ip ippb.AddressServiceClient, owner string, a Address, note string) error {
	_, err := ip.Release(ctx, &ippb.ReleaseRequest{
		Owner: owner, Addresses: []*ippb.HeldAddress{{Id: a.IPID, Generation: a.Generation}}, Hold: note,
	})
	return err
}

// Release gives back the reservations of these keys, which the host will not use. Those that cannot be given back
// expire.
func (r Reserver) Release(ctx context.Context, host uuid.UUID, keys ...string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	for _, key := range keys {
		_, _ = r.IP.Release(ctx, &ippb.ReleaseRequest{Owner: host.String(), Key: key})
	}
}
