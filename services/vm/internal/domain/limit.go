package domain

import (
	"google.golang.org/grpc/codes"

	"slipway.dev/pkg/fault"
)

// Resource is something that the hosts of an account use and that may be limited.
type Resource int

// Resources, in the order of Resources.
const (
	HostCount Resource = iota
	CPUNumber
	RAMMiB
	HDDMiB
	IPv4Number
)

// Resources are the dialect's names.
var Resources = [...]string{"host_count", "cpu_number", "ram_mib", "hdd_mib", "ipv4_number"}

// ErrQuota refuses what would go beyond a limit of the account.
var ErrQuota = fault.New(codes.ResourceExhausted, "QUOTA_EXCEEDED", "a limit of the account is reached")

// Usage is an amount of each resource.
type Usage [len(Resources)]int64

// Limits are what an account may use, nil for no limit, and what it uses.
type Limits struct {
	Max  [len(Resources)]*int32
	Used Usage
}

// Allow refuses to add what would go beyond a limit, and names it. What is given back is never refused.
func (l Limits) Allow(add Usage) error {
	for i, n := range add {
		if limit := l.Max[i]; n > 0 && limit != nil && l.Used[i]+n > int64(*limit) {
			return ErrQuota.With("the account may have %d and has %d", *limit, l.Used[i]).On(Resources[i])
		}
	}
	return nil
}

// UsageOf is what a wish with these addresses uses.
func (w *Wish) UsageOf(addrs int64) Usage {
	return Usage{HostCount: 1, CPUNumber: int64(w.CPUs), RAMMiB: int64(w.RAM), HDDMiB: w.DiskTotal(), IPv4Number: addrs}
}
