// Package ipchange gives addresses to hosts that exist, and takes them away.
package ipchange

import (
	"net/netip"
	"slices"

	"google.golang.org/grpc/codes"

	"slipway.dev/pkg/fault"
	"slipway.dev/services/vm/internal/address"
)

// Refusals of a change.
var (
	errMainAddress = fault.New(codes.FailedPrecondition, "MAIN_ADDRESS", "removing the main address of a host requires force")
	errMoved       = fault.New(codes.Aborted, "HOST_MOVED", "the host has got another owner meanwhile: repeat the request")
	errChanging    = fault.New(codes.FailedPrecondition, "ADDRESS_CHANGING", "the address is being added or removed")
)

// mainOf returns the host's main address: its first of IPv4, or its first of IPv6 if it has none of IPv4. Addresses
// that are being added do not count.
func mainOf(list []address.Address) (main address.Address, ok bool) {
	for _, a := range list {
		if a.State == address.Adding {
			continue
		}
		if !ok || a.Family < main.Family || a.Family == main.Family && a.Position < main.Position {
			main, ok = a, true
		}
	}
	return main, ok
}

// hasIPv6 reports whether there is an address of IPv6 that stays.
func hasIPv6(list []address.Address) bool {
	return slices.ContainsFunc(list, func(a address.Address) bool { return a.Family == 6 && a.State != address.Removing })
}

// Change is what a request changes of a host's addresses.
type Change struct {
	IPv4  int32 // below zero: so many fewer
	Pools []int32
	IPv6  *bool
	// Pools of the IPv6 address; empty: Pools. Its network has a prefix of IPv6Prefix; 0 is any.
	IPv6Pools  []int32
	IPv6Prefix int32
	List       []Wanted
}

// Wanted asks for one address: a certain one, or one of a pool or network. An empty Wanted asks for nothing.
type Wanted struct {
	Name          string
	Pool, Network int32
	Field         string // of the request that asks for the address
}

// empty reports whether the request asks for nothing there.
func (x Wanted) empty() bool { return x.Name == "" && x.Pool == 0 && x.Network == 0 }

// field returns the field of the request that asks for the most.
func (n *Change) field() string {
	switch {
	case n.IPv4 > 0:
		return "ipv4_number"
	case len(n.List) > 0:
		return n.List[0].Field
	default:
		return "ipv6_enabled"
	}
}

// check refuses a change that is empty or too large.
func (n *Change) check() error {
	n.List = slices.DeleteFunc(n.List, Wanted.empty)
	if n.IPv4 < -address.Max || n.IPv4 > address.Max {
		return fault.Invalid.With("%d is not between %d and %d", n.IPv4, 1, address.Max).On("ipv4_number")
	}
	if err := address.CheckIPv6(n.IPv6 != nil && *n.IPv6, n.IPv6Pools, n.IPv6Prefix); err != nil {
		return err
	}
	for _, x := range n.List {
		if x.Name == "" {
			continue
		}
		if _, err := netip.ParseAddr(x.Name); err != nil {
			return fault.Invalid.With("%.60q is not an address", x.Name).On(x.Field)
		}
	}
	if len(n.List) > address.Max {
		return fault.Invalid.With("at most %d", address.Max).On("ip_list")
	}
	if n.IPv4 == 0 && n.IPv6 == nil && len(n.List) == 0 {
		return fault.Invalid.With("state how many addresses to add, or which ones").On("ipv4_number")
	}
	return nil
}

// Surplus returns the addresses that the change takes away: the last ones of IPv4, never the main one, and all of IPv6.
func (n *Change) Surplus(list []address.Address) ([]address.Address, error) {
	var gone []address.Address
	main, _ := mainOf(list)
	left := -n.IPv4
	for _, a := range slices.Backward(list) {
		switch {
		case a.State != address.Active:
		case a.Family == 6 && n.IPv6 != nil && !*n.IPv6 && a.IPID == main.IPID:
			return nil, errMainAddress.With("%s is the main address of the host; DELETE /vm/v3/ip/%d with force removes it", a.Addr, a.IPID).
				On("ipv6_enabled")
		case a.Family == 6 && n.IPv6 != nil && !*n.IPv6:
			gone = append(gone, a)
		case a.Family == 4 && left > 0 && a.IPID != main.IPID:
			gone, left = append(gone, a), left-1
		}
	}
	if left > 0 {
		return nil, fault.Invalid.With("the host has only %d addresses besides its main one", -n.IPv4-left).On("ipv4_number")
	}
	return gone, nil
}

// removable returns the address id of the list, and refuses one that cannot be taken away.
func removable(list []address.Address, id int32, force bool) (address.Address, error) {
	i := slices.IndexFunc(list, func(a address.Address) bool { return a.IPID == id })
	if i < 0 {
		return address.Address{}, fault.NotFound.With("no address %d", id)
	}
	a := list[i]
	if a.State != address.Active {
		return a, errChanging.With("the address %s is being added or removed", a.Addr)
	}
	if main, _ := mainOf(list); main.IPID == id && !force {
		return a, errMainAddress.With("%s is the main address of the host; removing it requires force", a.Addr)
	}
	return a, nil
}
