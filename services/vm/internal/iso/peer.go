package iso

import (
	"context"
	"errors"
	"io"

	nodepb "slipway.dev/proto/node/v1"
	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/services/vm/internal/node"
)

// taker is an upload to a node.
type taker = nodepb.NodeService_TakeCDClient

// begin begins an upload for a machine at the agent of its node. Why the agent refuses one is the error of its first answer.
func begin(ctx context.Context, dial node.Dial, at node.Agent, machine string, account int32) (taker, error) {
	agent, err := dial.Agent(at.UUID, at.Endpoint)
	if err != nil {
		return nil, err
	}
	far, err := agent.TakeCD(ctx)
	if err != nil {
		return nil, err
	}
	if err := far.Send(&nodepb.TakeCDRequest{Machine: machine, Account: account}); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return far, nil
}

// carry sends the node what comes, and its end. An error of the node is that of its next answer.
func carry(far taker, v vmpb.UpkeepService_TakeISOServer) error {
	for {
		in, err := v.Recv()
		if errors.Is(err, io.EOF) {
			return far.CloseSend()
		}
		if err != nil {
			return err
		}
		if err := far.Send(&nodepb.TakeCDRequest{Data: in.GetData()}); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}
