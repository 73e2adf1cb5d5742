package address

import (
	"context"
	"time"

	"github.com/google/uuid"

	ippb "slipway.dev/proto/ip/v3"
)

// Reserver reserves addresses at ip for requests under way.
type Reserver struct{ IP ippb.AddressServiceClient }

// Reserve reserves addresses, all that are asked for or none.
func (r Reserver) Reserve(ctx context.Context, req *ippb.ReserveRequest) ([]Address, error) {
	resp, err := r.IP.Reserve(ctx, req)
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
	return list, nil
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
