package address

import (
	"net/netip"
	"strings"
	"time"

	"github.com/google/uuid"

	"slipway.dev/pkg/fault"
	"slipway.dev/services/ip/internal/inet"
)

const (
	defaultLapse = 5 * time.Minute
	maxLapse     = 24 * time.Hour
	maxCount     = 256
)

// request is what an owner asks for.
type request struct {
	Owner     string
	Key       string // of the claim; the first claim of an owner has the owner's UUID
	Cluster   int32
	Account   int32
	OfNetwork int32   // of addresses of its family; 0: any network
	Family    int32   // of the network
	Pools     []int32 // in this order; empty: all pools of the cluster
	IPv4      int
	IPv6      int
	Any       int        // of the family of the network or the pools
	Wish      netip.Addr // the address that the first of its family has to be; the zero Addr: any
	Lapse     time.Duration
}

// check completes a request and refuses an impossible one. A wish counts as at least one address of its family.
func (r request) check(lapseSeconds int32, wish string) (request, error) {
	owner, err := parseOwner(r.Owner)
	if err != nil {
		return request{}, err
	}
	if r.Owner = owner; r.Key == "" {
		r.Key = owner
	}
	if r.Key, err = parseKey(r.Key); err != nil {
		return request{}, err
	}
	r.Pools, r.Lapse = unique(r.Pools), time.Duration(lapseSeconds)*time.Second
	if r.IPv4 < 0 || r.IPv4 > maxCount {
		return request{}, fault.Invalid.With("from 0 to %d", maxCount).On("ipv4_count")
	}
	if r.IPv6 < 0 || r.IPv6 > maxCount {
		return request{}, fault.Invalid.With("from 0 to %d", maxCount).On("ipv6_count")
	}
	if r.Any < 0 || r.Any > maxCount {
		return request{}, fault.Invalid.With("from 0 to %d", maxCount).On("any_count")
	}
	if r.Lapse == 0 {
		r.Lapse = defaultLapse
	}
	if r.Lapse < 0 || r.Lapse > maxLapse {
		return request{}, fault.Invalid.With("from 1 to %d", int(maxLapse.Seconds())).On("lapse_seconds")
	}
	return r, r.setWish(strings.TrimSpace(wish))
}

// setWish sets the address that the owner wishes.
func (r *request) setWish(text string) (err error) {
	if text == "" {
		return nil
	}
	if r.Wish, err = inet.ParseAddress("wish", text); err != nil {
		return err
	}
	if r.Wish.Is4() {
		r.IPv4 = max(r.IPv4, 1)
	} else {
		r.IPv6 = max(r.IPv6, 1)
	}
	return nil
}

// notOf refuses a wish that is not of the network.
func (r request) notOf() error {
	return fault.Invalid.With("%s is not of network %d", r.Wish, r.OfNetwork).On("wish")
}

// network returns the network that addresses of a family must be of; 0 is any.
func (r request) network(family int32) int32 {
	if r.Family != family {
		return 0
	}
	return r.OfNetwork
}

// settle makes the addresses of any family ones of this family.
func (r request) settle(family int32) request {
	if family == 6 {
		r.IPv6 += r.Any
	} else {
		r.IPv4 += r.Any
	}
	r.Any = 0
	return r
}

// isFirst reports whether the claim is the first of its owner.
func (r request) isFirst() bool { return r.Key == r.Owner }

// parseOwner reads the UUID of an owner.
func parseOwner(s string) (string, error) { return parseID("owner", s) }

// parseKey reads the UUID of a claim.
func parseKey(s string) (string, error) { return parseID("key", s) }

func parseID(field, s string) (string, error) {
	id, err := uuid.Parse(s)
	if err != nil || len(s) != 36 || id == uuid.Nil {
		return "", fault.Invalid.With("%q is not a UUID", fault.Clip(s)).On(field)
	}
	return id.String(), nil
}

// unique returns ids without repetitions, in the same order.
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
