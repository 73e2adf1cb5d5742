package domain

import (
	"net/netip"
	"slices"

	"google.golang.org/grpc/codes"

	"slipway.dev/pkg/fault"
)

// States of a host's address.
const (
	AddressActive   = "active"
	AddressAdding   = "adding"   // until the node has it
	AddressRemoving = "removing" // until the node has it no more
)

// Faults about addresses.
var (
	ErrMainAddress = fault.New(codes.FailedPrecondition, "MAIN_ADDRESS", "removing the main address of a host requires force")
	ErrChanging    = fault.New(codes.FailedPrecondition, "ADDRESS_CHANGING", "the address is being added or removed")
)

// Address is an address that a host holds.
type Address struct {
	IPID, Family, Prefix, PoolID, NetworkID, Interface int32
	Addr, Mask, Gateway                                string
	DNS                                                []string
	State                                              string
	Job                                                int32 // that changes it; 0 for none
	Position, Generation                               int32
	Domain                                             string // PTR record
	PTRSerial                                          int32
}

// During lists what a host has while a job works on it, and once the job is done. Other jobs' changes are not begun: jobs
// of one host run in order.
func During(list []Address, job int32) (before, after []Address) {
	for _, a := range list {
		mine := a.Job == job
		if a.State != AddressAdding {
			before = append(before, a)
		}
		if a.State == AddressActive || mine == (a.State == AddressAdding) {
			after = append(after, a)
		}
	}
	return before, after
}

// Main is the host's main address: its first of IPv4.
func Main(list []Address) (Address, bool) {
	i := slices.IndexFunc(list, func(a Address) bool { return a.Family == 4 && a.State != AddressAdding })
	if i < 0 {
		return Address{}, false
	}
	return list[i], true
}

// HasIPv6 reports whether there is an address of IPv6 that stays.
func HasIPv6(list []Address) bool {
	return slices.ContainsFunc(list, func(a Address) bool { return a.Family == 6 && a.State != AddressRemoving })
}

// CheckCount refuses more addresses than a host may have.
func CheckCount(n int) error {
	if n > maxAddrs {
		return fault.Invalid.With("a host has at most %d addresses", maxAddrs).On("ipv4_number")
	}
	return nil
}

// NewIPs is a wish for a change of a host's addresses.
type NewIPs struct {
	IPv4  int32 // below zero: so many fewer
	Pools []int32
	IPv6  *bool
	List  []NewIP
}

// NewIP is a wish for one address: a certain one, or one of a pool or network. All empty is no wish.
type NewIP struct {
	Name          string
	Pool, Network int32
}

// Check refuses a wish that means nothing, or too much.
func (n *NewIPs) Check() error {
	n.List = slices.DeleteFunc(n.List, func(x NewIP) bool { return x == NewIP{} })
	if err := between("ipv4_number", n.IPv4, -maxAddrs, maxAddrs); err != nil {
		return err
	}
	for _, x := range n.List {
		if x.Name == "" {
			continue
		}
		if _, err := netip.ParseAddr(x.Name); err != nil {
			return fault.Invalid.With("%.60q is not an address", x.Name).On("ip_addr")
		}
	}
	if len(n.List) > maxAddrs {
		return fault.Invalid.With("at most %d", maxAddrs).On("ip_list")
	}
	if n.IPv4 == 0 && n.IPv6 == nil && len(n.List) == 0 {
		return fault.Invalid.With("state how many addresses to add, or which ones").On("ipv4_number")
	}
	return nil
}

// Surplus chooses the addresses that a wish takes away: the last ones of IPv4, never the main one, and all of IPv6.
func (n *NewIPs) Surplus(list []Address) ([]Address, error) {
	var gone []Address
	main, _ := Main(list)
	left := -n.IPv4
	for _, a := range slices.Backward(list) {
		switch {
		case a.State != AddressActive:
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

// Remove checks that an address can be taken away.
func Remove(list []Address, id int32, force bool) (Address, error) {
	i := slices.IndexFunc(list, func(a Address) bool { return a.IPID == id })
	if i < 0 {
		return Address{}, fault.NotFound.With("no address %d", id)
	}
	a := list[i]
	if a.State != AddressActive {
		return a, ErrChanging.With("the address %s is being added or removed", a.Addr)
	}
	if main, _ := Main(list); main.IPID == id && !force {
		return a, ErrMainAddress.With("%s is the main address of the host; removing it requires force", a.Addr)
	}
	return a, nil
}
