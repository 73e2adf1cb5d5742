package agent

import (
	"bytes"
	"context"

	"github.com/google/uuid"

	nodepb "slipway.dev/proto/node/v1"

	"slipway.dev/pkg/fault"
)

// MoveDisk gives a disk to another machine. The command has its place among those of both machines.
func (a *Agent) MoveDisk(ctx context.Context, r *nodepb.MoveDiskRequest) (*nodepb.MoveDiskResponse, error) {
	from, err := machineID(r.GetCommand().GetMachine())
	if err != nil {
		return nil, err
	}
	to, err := uuid.Parse(r.GetTo())
	if err != nil || to == from {
		return nil, fault.Invalid.With("not the UUID of another machine").On("to")
	}
	first, second := from, to
	if bytes.Compare(to[:], from[:]) < 0 { // in one order, so that two commands never wait for each other
		first, second = to, from
	}
	o := orderOf(r.GetCommand())
	return &nodepb.MoveDiskResponse{}, a.journal.Do(ctx, first, o, func(ctx context.Context) error {
		return a.journal.Do(ctx, second, o, func(ctx context.Context) error {
			return atMove.round(func() error { return a.driver.MoveDisk(ctx, from, r.GetName(), to, r.GetNewName()) })
		})
	})
}
