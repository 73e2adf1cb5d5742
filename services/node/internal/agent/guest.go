package agent

import (
	"context"

	"github.com/google/uuid"

	nodepb "slipway.dev/proto/node/v1"
)

// AskGuest asks the agent in the guest for its addresses.
func (a *Agent) AskGuest(ctx context.Context, r *nodepb.AskGuestRequest) (*nodepb.AskGuestResponse, error) {
	id, err := machineID(r.GetMachine())
	if err != nil {
		return nil, err
	}
	list, err := a.driver.GuestAddresses(ctx, id)
	if err != nil {
		return nil, err
	}
	resp := &nodepb.AskGuestResponse{}
	for _, addr := range list {
		resp.Addresses = append(resp.Addresses, addr.String())
	}
	return resp, nil
}

// SetGuestPassword has the agent in the guest set root's password.
func (a *Agent) SetGuestPassword(ctx context.Context, r *nodepb.SetGuestPasswordRequest) (*nodepb.SetGuestPasswordResponse, error) {
	return &nodepb.SetGuestPasswordResponse{}, a.command(ctx, atPassword, r.GetCommand(), func(ctx context.Context, id uuid.UUID) error {
		return a.driver.SetGuestPassword(ctx, id, r.GetPasswordHash())
	})
}
