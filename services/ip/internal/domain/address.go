package domain

import (
	"net/netip"
	"strings"
	"time"

	"github.com/google/uuid"

	"slipway.dev/pkg/fault"
)

// States of an address.
const (
	StateFree        = "free"
	StateReserved    = "reserved"
	StateAssigned    = "assigned"
	StateQuarantined = "quarantined"
	StateGateway     = "gateway"
	StateNetwork     = "network"
	StateBroadcast   = "broadcast"
)

// Address is an address with what a machine must know to use it.
type Address struct {
	ID         int32
	IP         netip.Addr
	State      string
	PoolID     int32
	NetworkID  int32
	CIDR       netip.Prefix
	Gateway    netip.Addr
	DNS        []netip.Addr
	VLAN       *int32
	Domain     string
	Note       string
	Owner      string
	Interface  int32
	Position   int32
	Generation int32
	PTRSerial  int32
}

// Held is an address as its owner knows it.
type Held struct{ ID, Generation int32 }

const (
	defaultLapse = 5 * time.Minute
	maxLapse     = 24 * time.Hour
	maxCount     = 256
)

// Want is what an owner asks for.
type Want struct {
	Owner     string
	Key       string // of the claim; the owner's own for its first
	Cluster   int32
	Account   int32
	OfNetwork int32   // 0 is any
	Pools     []int32 // in this order; none is all of the cluster
	IPv4      int
	IPv6      int
	Wish      netip.Addr // the first of its family; the zero Addr is none
	Lapse     time.Duration
}

// Check completes a want and refuses what cannot be. A wish counts as at least one of its family.
func (w Want) Check(lapseSeconds int32, wish string) (Want, error) {
	owner, err := ParseOwner(w.Owner)
	if err != nil {
		return Want{}, err
	}
	if w.Owner = owner; w.Key == "" {
		w.Key = owner
	}
	if w.Key, err = ParseKey(w.Key); err != nil {
		return Want{}, err
	}
	w.Pools, w.Lapse = unique(w.Pools), time.Duration(lapseSeconds)*time.Second
	if w.IPv4 < 0 || w.IPv4 > maxCount {
		return Want{}, fault.Invalid.With("from 0 to %d", maxCount).On("ipv4_count")
	}
	if w.IPv6 < 0 || w.IPv6 > maxCount {
		return Want{}, fault.Invalid.With("from 0 to %d", maxCount).On("ipv6_count")
	}
	if w.Lapse == 0 {
		w.Lapse = defaultLapse
	}
	if w.Lapse < 0 || w.Lapse > maxLapse {
		return Want{}, fault.Invalid.With("from 1 to %d", int(maxLapse.Seconds())).On("lapse_seconds")
	}
	return w, w.wish(strings.TrimSpace(wish))
}

func (w *Want) wish(text string) (err error) {
	if text == "" {
		return nil
	}
	if w.Wish, err = ParseAddress("wish", text); err != nil {
		return err
	}
	if w.Wish.Is4() {
		w.IPv4 = max(w.IPv4, 1)
	} else {
		w.IPv6 = max(w.IPv6, 1)
	}
	return nil
}

// First reports whether the claim is its owner's first.
func (w Want) First() bool { return w.Key == w.Owner }

// ParseOwner reads the UUID of an owner.
func ParseOwner(s string) (string, error) { return parseID("owner", s) }

// ParseKey reads the UUID of a claim.
func ParseKey(s string) (string, error) { return parseID("key", s) }

func parseID(field, s string) (string, error) {
	id, err := uuid.Parse(s)
	if err != nil || len(s) != 36 || id == uuid.Nil {
		return "", fault.Invalid.With("%q is not a UUID", clip(s)).On(field)
	}
	return id.String(), nil
}

// ParseAddress reads an address for a field of a request.
func ParseAddress(field, s string) (netip.Addr, error) {
	a, err := netip.ParseAddr(strings.TrimSpace(s))
	if err != nil || odd(a) {
		return a, fault.Invalid.With("%q is not an address", clip(s)).On(field)
	}
	return a, nil
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
