package address

import (
	"context"

	ippb "slipway.dev/proto/ip/v3"

	"slipway.dev/pkg/clamp"
	"slipway.dev/pkg/crash"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/ip/internal/message"
)

// Crash points after a commit and before its answer.
var (
	pointReserve = crash.At("ip.reserve.committed")
	pointConfirm = crash.At("ip.confirm.committed")
	pointRelease = crash.At("ip.release.committed")
)

// Reserve takes addresses for an owner, or returns those that were taken under the same key.
func (s *server) Reserve(ctx context.Context, r *ippb.ReserveRequest) (*ippb.ReserveResponse, error) {
	claim, err := request{
		Owner: r.GetOwner(), Key: r.GetKey(), Cluster: r.GetClusterId(), Account: r.GetAccountId(), OfNetwork: r.GetNetworkId(),
		Pools: r.GetPoolIds(), IPv4: int(r.GetIpv4Count()), IPv6: int(r.GetIpv6Count()), Any: int(r.GetAnyCount()),
	}.check(r.GetLapseSeconds(), r.GetWish())
	if err != nil {
		return nil, err
	}
	list, err := s.claimer.claim(ctx, claim)
	if err != nil {
		return nil, err
	}
	pointReserve.Hit()
	return &ippb.ReserveResponse{Addresses: message.List(list, toProto)}, nil
}

// Confirm makes reservations permanent.
func (s *server) Confirm(ctx context.Context, r *ippb.ConfirmRequest) (*ippb.ConfirmResponse, error) {
	owner, key, err := claimOf(r)
	if err != nil {
		return nil, err
	}
	if err := s.db.InTx(ctx, func(tx *unit.Tx) error { return confirm(ctx, tx, owner, key) }); err != nil {
		return nil, err
	}
	pointConfirm.Hit()
	return &ippb.ConfirmResponse{}, nil
}

// claimOf reads an owner and a key, which may be empty.
func claimOf(r interface {
	GetOwner() string
	GetKey() string
},
) (owner, key string, err error) {
	if owner, err = parseOwner(r.GetOwner()); err != nil || r.GetKey() == "" {
		return owner, "", err
	}
	key, err = parseKey(r.GetKey())
	return owner, key, err
}

// Release takes addresses from their owner.
func (s *server) Release(ctx context.Context, r *ippb.ReleaseRequest) (*ippb.ReleaseResponse, error) {
	owner, key, err := claimOf(r)
	if err != nil {
		return nil, err
	}
	named := message.List(r.GetAddresses(), func(a *ippb.HeldAddress) heldAddress {
		return heldAddress{ID: a.GetId(), Generation: a.GetGeneration()}
	})
	if err := message.CheckNote(r.GetHold()); err != nil {
		return nil, err
	}
	var n int
	var refused []int32
	err = s.db.InTx(ctx, func(tx *unit.Tx) error {
		n, refused, err = release(ctx, tx, surrender{owner, key, named, r.GetUnused(), r.GetHold()}, int(s.quarantine.Seconds()))
		return err
	})
	if err != nil {
		return nil, err
	}
	pointRelease.Hit()
	return &ippb.ReleaseResponse{Released: clamp.Int32(n), Refused: refused}, nil
}
