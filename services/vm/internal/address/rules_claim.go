package address

import (
	"net/netip"
	"slices"

	ippb "slipway.dev/proto/ip/v3"

	"slipway.dev/pkg/fault"
)

// single is the length of the prefix of one IPv6 address, which is what a host gets.
const single = 128

// Claim is what to reserve, and how the client asks for it.
type Claim struct {
	*ippb.ReserveRequest
	By   Asker
	only bool // pools that the request names, even if they have no addresses of the family
}

// Asked returns how many addresses of each family a claim asks for. A wish counts as at least one of its family. What may be
// of any family counts as IPv6: whether it is of IPv4, which is limited, is known once ip has reserved it.
func (c Claim) Asked() (v4, v6 int32) {
	v4, v6 = c.GetIpv4Count(), c.GetIpv6Count()+c.GetAnyCount()
	wish, err := netip.ParseAddr(c.GetWish())
	switch {
	case err != nil:
		return v4, v6
	case wish.Unmap().Is4():
		return max(v4, 1), v6
	default:
		return v4, max(v6, 1)
	}
}

// Asked returns how many addresses of each family claims ask for.
func Asked(claims []Claim) (v4, v6 int32) {
	for _, c := range claims {
		four, six := c.Asked()
		v4, v6 = v4+four, v6+six
	}
	return v4, v6
}

// accept refuses addresses of other pools than the claim names. ip takes IPv6 addresses from the cluster's pools if those that
// are named have none.
func (c Claim) accept(list []Address) error {
	for _, a := range list {
		if c.only && !slices.Contains(c.GetPoolIds(), a.PoolID) {
			return fault.Invalid.With("there is no IPv%d address in the pools", a.Family).On(c.By.Pools)
		}
	}
	return nil
}

// Split returns a claim as two if its IPv6 address is to come from pools of its own, which the field ipv6_pool names, and else
// as it is.
func (c Claim) Split(pools []int32) []Claim {
	if c.GetIpv6Count() == 0 || len(pools) == 0 {
		return []Claim{c}
	}
	r := c.ReserveRequest
	six := &ippb.ReserveRequest{PoolIds: pools, Ipv6Count: r.GetIpv6Count(), NetworkId: r.GetNetworkId()}
	r.Ipv6Count = 0
	if wish, err := netip.ParseAddr(r.GetWish()); err == nil && !wish.Unmap().Is4() {
		six.Wish, r.Wish = r.GetWish(), ""
	}
	apart := Claim{ReserveRequest: six, By: Asker{One: c.By.One, Pools: "ipv6_pool"}, only: true}
	if v4, v6 := c.Asked(); v4+v6 == 0 {
		return []Claim{apart}
	}
	return []Claim{c, apart}
}

// CheckIPv6 refuses pools of an IPv6 address that is not asked for, and a prefix that no network has.
func CheckIPv6(wanted bool, pools []int32, prefix int32) error {
	if !wanted && len(pools) > 0 {
		return fault.Invalid.With("ipv6_enabled is not true, but the request says where an address is to come from").On("ipv6_pool")
	}
	if prefix < 0 || prefix > single {
		return fault.Invalid.With("%d is not between %d and %d", prefix, 0, single).On("ipv6_prefix")
	}
	return nil
}

// CheckPrefix refuses IPv6 addresses of networks that do not have the wanted prefix; 0 and 128 are any.
func CheckPrefix(list []Address, prefix int32) error {
	if prefix == 0 || prefix == single {
		return nil
	}
	for _, a := range list {
		if a.Family == 6 && a.Prefix != prefix {
			return fault.Invalid.With("the address is of a network with a prefix of %d", a.Prefix).On("ipv6_prefix")
		}
	}
	return nil
}
