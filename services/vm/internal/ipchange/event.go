package ipchange

import (
	"context"

	"github.com/jackc/pgx/v5"

	ippb "slipway.dev/proto/ip/v3"

	"slipway.dev/pkg/unit"
	"slipway.dev/services/vm/internal/address"
	"slipway.dev/services/vm/internal/host"
)

// Released takes from a host an address that ip took back. It changes nothing after a change of vm's own; but a
// reservation may have expired. The host is locked first: whoever deletes the host counts its addresses, and each must
// count once.
func Released(ctx context.Context, tx *unit.Tx, r *ippb.AddressReleased) error {
	b := &pgx.Batch{}
	host.QueueLock(b, r.GetOwner())
	address.QueueDrop(b, r.GetId(), r.GetGeneration(), r.GetOwner())
	return tx.SendBatch(ctx, b).Close()
}
