package console

import (
	"context"
	"errors"
	"slices"

	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/pkg/audit"
	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/identity"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/vm/internal/listing"
)

// GetVNCSettings says how the consoles of a host are reached.
func (s *Screens) GetVNCSettings(ctx context.Context, r *vmpb.GetVNCSettingsRequest) (*vmpb.VNCSettings, error) {
	if _, err := find(ctx, s.db, r.GetId(), listing.Owner(ctx)); err != nil {
		return nil, err
	}
	return &vmpb.VNCSettings{
		Id: r.GetId(), Kinds: kinds, Path: Path, TicketSeconds: int32(ticketFor.Seconds()),
	}, nil
}

// CreateConsoleTicket gives a ticket for a console of a host that the caller has.
func (s *Screens) CreateConsoleTicket(ctx context.Context, r *vmpb.CreateConsoleTicketRequest) (*vmpb.ConsoleTicket, error) {
	if _, err := find(ctx, s.db, r.GetId(), listing.Owner(ctx)); err != nil {
		return nil, err
	}
	if !slices.Contains(kinds, r.GetKind()) {
		return nil, fault.Invalid.With("vnc or serial").On("kind")
	}
	caller, _ := identity.From(ctx)
	text, hash := newTicket()
	err := s.db.InTx(ctx, func(tx *unit.Tx) error {
		audit.Of(ctx).Change(nil, map[string]any{"console": r.GetKind()})
		return keep(ctx, tx, hash, ticket{
			HostID: r.GetId(), AccountID: caller.AccountID, SessionID: caller.SessionID, Kind: r.GetKind(),
		})
	})
	if err != nil {
		return nil, err
	}
	return &vmpb.ConsoleTicket{
		Id: r.GetId(), Kind: r.GetKind(), Ticket: text, Path: Path, Seconds: int32(ticketFor.Seconds()),
	}, nil
}

// CheckConsole returns an error if the caller may not have a console of the host.
func (s *Screens) CheckConsole(ctx context.Context, r *vmpb.CheckConsoleRequest) (*vmpb.CheckConsoleResponse, error) {
	_, err := find(ctx, s.db, r.GetId(), listing.Owner(ctx))
	if r.GetId() == 0 && errors.Is(err, fault.NotFound) { // no host has this id; the database answers
		err = nil
	}
	return &vmpb.CheckConsoleResponse{}, err
}
