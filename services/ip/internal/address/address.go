package address

import (
	"context"
	"net/netip"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	ippb "slipway.dev/proto/ip/v3"

	"slipway.dev/pkg/unit"
)

type server struct {
	ippb.UnimplementedAddressServiceServer
	ippb.UnimplementedLedgerServiceServer

	db         *unit.DB
	claimer    *claimer
	quarantine time.Duration // of released addresses, unless the setting overrides it
	published  bool          // there is a name server that gets the names of addresses
}

// Register adds the rpcs of addresses to r. quarantine is the default of the setting quarantine_seconds; published is whether
// there is a name server.
func Register(r grpc.ServiceRegistrar, db *unit.DB, quarantine time.Duration, published bool) {
	s := &server{db: db, claimer: newClaimer(db), quarantine: quarantine, published: published}
	ippb.RegisterAddressServiceServer(r, s)
	ippb.RegisterLedgerServiceServer(r, s)
}

// emit emits an event about an address. The caller holds the lock of the address's row, which keeps its events in
// order.
func emit(ctx context.Context, tx *unit.Tx, subject string, ip netip.Addr, m proto.Message) error {
	return tx.Emit(ctx, subject, ip.String(), m)
}
