package account

import (
	"google.golang.org/grpc/codes"

	"slipway.dev/pkg/fault"
)

// resource is something that the hosts of an account use and that may be limited: an index of resources.
type resource int

// Indexes of a Usage.
const (
	HostCount resource = iota
	CPUNumber
	RAMMiB
	HDDMiB
	IPv4Number
)

// resources are the dialect's names.
var resources = [...]string{"host_count", "cpu_number", "ram_mib", "hdd_mib", "ipv4_number"}

// Names of limits on what accounts cannot have yet, so that nothing is counted.
const (
	imageCount = "image_count"
	vxlanCount = "vxlan_count"
)

// Spare are the limits on what accounts cannot have yet, nil for no limit.
type Spare struct{ Images, VXLANs *int32 }

// errQuota refuses what would go beyond a limit of the account.
var errQuota = fault.New(codes.ResourceExhausted, "QUOTA_EXCEEDED", "a limit of the account is reached")

// ErrLeft refuses what is asked for an account that was deleted.
var ErrLeft = fault.New(codes.FailedPrecondition, "ACCOUNT_LEFT", "the account was deleted")

// Usage is an amount of each resource.
type Usage [len(resources)]int64

// Limits are what an account may use, nil for no limit, and what it uses.
type Limits struct {
	Max  [len(resources)]*int32
	Used Usage
	Left bool // the account was deleted
}

// Allow refuses an addition that would go beyond a limit, and names the limit. A negative addition is never refused.
func (l Limits) Allow(add Usage) error {
	if l.Left {
		return ErrLeft
	}
	for i, n := range add {
		if limit := l.Max[i]; n > 0 && limit != nil && l.Used[i]+n > int64(*limit) {
			return errQuota.With("the account may have %d and has %d", *limit, l.Used[i]).On(resources[i])
		}
	}
	return nil
}
