package console

import (
	"context"
	"time"

	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/pkg/identity"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/vm/internal/listing"
	"slipway.dev/services/vm/internal/node"
)

// Screens answers vm.v3.ConsoleService.
type Screens struct {
	db   *unit.DB
	dial node.Dial

	openFor time.Duration // how long a node may take to connect
	every   time.Duration // how often the rights of a viewer are looked at again
}

// NewScreens returns a Screens.
func NewScreens(db *unit.DB, dial node.Dial) *Screens {
	return &Screens{db, dial, 5 * time.Second, 2 * time.Second}
}

// OpenConsole carries what a viewer and a console say to each other, until one of them ends or the host is the caller's no longer.
func (s *Screens) OpenConsole(v vmpb.ConsoleService_OpenConsoleServer) error {
	ctx, cancel := context.WithCancel(v.Context())
	defer cancel()
	first, err := v.Recv()
	if err != nil {
		return err
	}
	t, err := redeem(ctx, s.db, hashOf(first.GetTicket()))
	if err != nil {
		return err
	}
	caller, _ := identity.From(ctx)
	if err := t.check(caller.AccountID, caller.SessionID); err != nil {
		return err
	}
	m, err := find(ctx, s.db, t.HostID, listing.Owner(ctx))
	if err != nil {
		return err
	}
	far, before, err := open(ctx, s.dial, m, t.Kind, s.openFor)
	if err != nil {
		return err
	}
	if err := v.Send(&vmpb.OpenConsoleResponse{Id: t.HostID, Data: before}); err != nil {
		return err
	}
	ended := make(chan error, 3)
	go func() { ended <- down(v, far) }()
	go func() { ended <- up(far, v) }()
	go func() { ended <- s.watch(ctx, t.HostID, m) }()
	select {
	case err = <-ended:
	case <-ctx.Done():
		err = ctx.Err()
	}
	return err
}

// watch returns when the caller does not have the host any more, or the host is on another node.
func (s *Screens) watch(ctx context.Context, host int32, m machine) error {
	tick := time.NewTicker(s.every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		look, cancel := context.WithTimeout(ctx, s.every)
		now, err := find(look, s.db, host, listing.Owner(ctx))
		cancel()
		if err != nil {
			return err // whoever cannot be looked at is let go
		}
		if now.UUID != m.UUID || now.Node != m.Node {
			return errStopped
		}
	}
}
