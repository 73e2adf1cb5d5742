package domain

import (
	"net/netip"
	"strings"
	"time"

	"github.com/google/uuid"

	"slipway.dev/pkg/fault"
)

// States of an address that somebody holds; the others (free, quarantined and special, which is a gateway) are the
// business of the store.
const (
	StateReserved = "reserved"
	StateAssigned = "assigned"
)

// Address is an address that is not free, with what a machine must know to use it.
type Address struct {
	ID        int32
	IP        netip.Addr
	State     string
	PoolID    int32
	NetworkID int32
	CIDR      netip.Prefix
	Gateway   netip.Addr
	Domain    string
	Owner     string
	Interface int32
	Position  int32
}

const (
	defaultLapse = 5 * time.Minute
	maxLapse     = 24 * time.Hour
	maxCount     = 256
)

// Want is what an owner asks for.
type Want struct {
	Owner   string
	Cluster int32
	Pools   []int32 // in this order; none is all of the cluster
	IPv4    int
	IPv6    int
	Wish    netip.Addr // the first of its family; the zero Addr is none
	Lapse   time.Duration
}

// NewWant checks a request for addresses. A wish counts as at least one of its family.
func NewWant(owner string, cluster int32, pools []int32, ipv4, ipv6, lapseSeconds int32, wish string) (Want, error) {
	owner, err := ParseOwner(owner)
	if err != nil {
		return Want{}, err
	}
	w := Want{
		Owner: owner, Cluster: cluster, Pools: unique(pools), IPv4: int(ipv4), IPv6: int(ipv6),
		Lapse: time.Duration(lapseSeconds) * time.Second,
	}
	if w.IPv4 < 0 || w.IPv4 > maxCount {
		return Want{}, fault.Invalid.With("ipv4_count: from 0 to %d", maxCount).On("ipv4_count")
	}
	if w.IPv6 < 0 || w.IPv6 > maxCount {
		return Want{}, fault.Invalid.With("ipv6_count: from 0 to %d", maxCount).On("ipv6_count")
	}
	if w.Lapse == 0 {
		w.Lapse = defaultLapse
	}
	if w.Lapse < 0 || w.Lapse > maxLapse {
		return Want{}, fault.Invalid.With("lapse_seconds: from 1 to %d", int(maxLapse.Seconds())).On("lapse_seconds")
	}
	return w, w.wish(strings.TrimSpace(wish))
}

func (w *Want) wish(text string) (err error) {
	if text == "" {
		return nil
	}
	if w.Wish, err = netip.ParseAddr(text); err != nil || odd(w.Wish) {
		return fault.Invalid.With("wish: %q is not an address", clip(text)).On("wish")
	}
	if w.Wish.Is4() {
		w.IPv4 = max(w.IPv4, 1)
	} else {
		w.IPv6 = max(w.IPv6, 1)
	}
	return nil
}

// ParseOwner reads the UUID of an owner.
func ParseOwner(s string) (string, error) {
	id, err := uuid.Parse(s)
	if err != nil || len(s) != 36 || id == uuid.Nil {
		return "", fault.Invalid.With("owner: %q is not a UUID", clip(s)).On("owner")
	}
	return id.String(), nil
}

func unique(ids []int32) []int32 {
	var list []int32
	seen := map[int32]bool{}
	for _, id := range ids {
		if !seen[id] {
			seen[id] = true
			list = append(list, id)
		}
	}
	return list
}
