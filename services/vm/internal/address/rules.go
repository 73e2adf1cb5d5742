// Package address keeps the addresses of hosts: vm's copy of what ip says of them, and which host has which, in which
// order.
package address

import "slipway.dev/pkg/fault"

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
	DNS                                                []string
	State                                              string
	Job                                                int32 // that changes it; 0 for none
	Position, Generation                               int32
	Domain                                             string // PTR record
	PTRSerial                                          int32
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

// CheckCount refuses more addresses than a host may have.
func CheckCount(n int) error {
	if n > Max {
		return fault.Invalid.With("a host has at most %d addresses", Max).On("ipv4_number")
	}
	return nil
}
