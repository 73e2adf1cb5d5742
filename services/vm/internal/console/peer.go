package console

import (
	"context"

	nodepb "slipway.dev/proto/node/v1"

	"slipway.dev/services/vm/internal/node"
)

// read reads the last bytes of a console from the agent of its node.
func read(ctx context.Context, dial node.Dial, m machine, bytes int32) ([]byte, error) {
	agent, err := dial.Agent(m.Node, m.Endpoint)
	if err != nil {
		return nil, err
	}
	c, err := agent.ReadConsole(ctx, &nodepb.ReadConsoleRequest{Machine: m.UUID.String(), MaxBytes: bytes})
	if err != nil {
		return nil, err
	}
	return c.GetText(), nil
}
