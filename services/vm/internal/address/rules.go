// Package address keeps the addresses of hosts: vm's copy of what ip says of them, and which host has which, in which
// order.
package address

import (
	"slices"

	"slipway.dev/pkg/fault"
)

// Max is how many addresses a host may have.
const Max = 64

// States of a host's address.
const (
	Active   = "active"
	Adding   = "adding"   // until the node has it
	Removing = "removing" // until the node has it no more
)

// Address is an address that a host holds.
type Address struct {
	IPID, Family, Prefix, PoolID, NetworkID, Interface int32
	Addr, Mask, Gateway                                string
	DNS                                                []string // as Gateway, what the guest has
	Now                                                *Network // what it gets at its next start; nil: the same
	State                                              string
	Job                                                int32 // that changes it; 0 for none
	Position, Generation                               int32
	Domain                                             string // PTR record
	PTRSerial                                          int32
}

// Network is what ip says of an address's network.
type Network struct {
	Gateway string
	DNS     []string
}

// AtStart returns the addresses as the guest has them from its next start on. Now is left where that differs.
func AtStart(list []Address) []Address {
	out := make([]Address, len(list))
	for i, a := range list {
		if now := a.Now; now != nil && now.Gateway == a.Gateway && slices.Equal(now.DNS, a.DNS) {
			a.Now = nil
		} else if now != nil {
			a.Gateway, a.DNS = now.Gateway, now.DNS
		}
		out[i] = a
	}
	return out
}

// During returns the host's addresses while the job runs and after it is done. The changes of other jobs have not
// begun: jobs of one host run in order.
func During(list []Address, job int32) (before, after []Address) {
	for _, a := range list {
		mine := a.Job == job
		if a.State != Adding {
			before = append(before, a)
		}
		if a.State == Active || mine == (a.State == Adding) {
			after = append(after, a)
		}
	}
	return before, after
}

// CountIPv4 returns how many of the addresses are of IPv4.
func CountIPv4(list []Address) (n int64) {
	for _, a := range list {
		if a.Family == 4 {
			n++
		}
	}
	return n
}

// CheckCount refuses more addresses than a host may have. field is the field of the request that asks for them.
func CheckCount(n int, field string) error {
	if n > Max {
		return fault.Invalid.With("a host has at most %d addresses", Max).On(field)
	}
	return nil
}
