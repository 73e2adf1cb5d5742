package simulate

import (
	"fmt"
	"slices"
	"time"

	"google.golang.org/grpc/codes"

	ippb "slipway.dev/proto/ip/v3"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/jobs/jobsim"
)

var (
	errLapsed = fault.New(codes.FailedPrecondition, "RESERVATION_LAPSED", "the reservation has expired")
	errNone   = fault.New(codes.ResourceExhausted, "NO_FREE_ADDRESS", "no free address")
)

// addresses are ip's, as a model: an address has one row and one owner, the lowest free one is taken, a reservation that
// is not confirmed lapses, and what is given back is free at once.
type addresses struct {
	w    *world
	list []*ipRow
}

type ipRow struct {
	id, generation int32
	addr           string
	owner, key     string
	until          time.Time // zero: it is assigned
}

func newAddresses(w *world) *addresses {
	ip := &addresses{w: w}
	for i := range int32(24) {
		ip.list = append(ip.list, &ipRow{id: i + 1, generation: 1, addr: fmt.Sprintf("10.0.0.%d", i+2)})
	}
	return ip
}

// lapse takes what was not confirmed in time; vm hears of it later.
func (ip *addresses) lapse() {
	for _, a := range ip.list {
		if a.owner != "" && !a.until.IsZero() && !a.until.After(time.Now()) {
			ip.free(a)
		}
	}
}

func (ip *addresses) free(a *ipRow) {
	id, generation, owner, w := a.id, a.generation, a.owner, ip.w
	a.owner, a.key, a.until, a.generation = "", "", time.Time{}, generation+1
	r := w.draw(fmt.Sprint("event of address ", id))
	time.AfterFunc(between(r, 10*time.Millisecond, 3*time.Second), func() {
		_ = w.happen(func() error {
			return w.mem.jobs.Do(func(in *jobsim.Tx) error {
				return tx{memory: w.mem, in: in}.DropAddress(w.t.Context(), id, generation, owner)
			})
		})
	})
}

func (ip *addresses) reserve(q *ippb.ReserveRequest) (*ippb.ReserveResponse, error) {
	ip.lapse()
	var got []*ipRow
	for _, a := range ip.list { // a repeated claim gets what it has
		if a.key == q.GetKey() && a.owner == q.GetOwner() {
			got = append(got, a)
		}
	}
	for _, a := range ip.list {
		if a.owner == "" && len(got) < int(q.GetIpv4Count()) {
			a.owner, a.key, a.until = q.GetOwner(), q.GetKey(), time.Now().Add(time.Duration(q.GetLapseSeconds())*time.Second)
			got = append(got, a)
		}
	}
	if len(got) < int(q.GetIpv4Count()) {
		ip.release(&ippb.ReleaseRequest{Owner: q.GetOwner(), Key: q.GetKey()})
		return nil, errNone
	}
	resp := &ippb.ReserveResponse{}
	for _, a := range got {
		resp.Addresses = append(resp.Addresses, &ippb.Address{
			Id: a.id, IpAddr: a.addr, Family: 4, PrefixLength: 24, Mask: "255.255.255.0", Gateway: "10.0.0.1", Generation: a.generation,
		})
	}
	return resp, nil
}

func (ip *addresses) confirm(q *ippb.ConfirmRequest) error {
	ip.lapse()
	held := 0
	for _, a := range ip.list {
		if a.owner == q.GetOwner() && (q.GetKey() == "" || q.GetKey() == a.key) {
			held++
			a.until = time.Time{}
		}
	}
	if held == 0 {
		return errLapsed
	}
	return nil
}

func (ip *addresses) release(q *ippb.ReleaseRequest) {
	ip.lapse()
	for _, a := range ip.list {
		named := len(q.GetAddresses()) == 0 || slices.ContainsFunc(q.GetAddresses(), func(h *ippb.HeldAddress) bool {
			return h.GetId() == a.id && (h.GetGeneration() == a.generation || ip.w.plant.ageless)
		})
		if a.owner == q.GetOwner() && a.owner != "" && named && (q.GetKey() == "" || q.GetKey() == a.key) {
			ip.free(a)
		}
	}
}

// owner of an address, "" for none.
func (ip *addresses) owner(addr string) string {
	for _, a := range ip.list {
		if a.addr == addr {
			return a.owner
		}
	}
	return ""
}
