package console

import (
	"context"
	"errors"
	"io"
	"time"

	nodepb "slipway.dev/proto/node/v1"
	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/services/vm/internal/node"
)

var nodeKinds = map[string]nodepb.ConsoleKind{
	"vnc": nodepb.ConsoleKind_CONSOLE_KIND_VNC, "serial": nodepb.ConsoleKind_CONSOLE_KIND_SERIAL,
}

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

// open opens a console at the agent of a machine's node, and returns what it said before.
func open(ctx context.Context, dial node.Dial, m machine, kind string, wait time.Duration) (
	nodepb.NodeService_OpenConsoleClient, []byte, error,
) {
	agent, err := dial.Agent(m.Node, m.Endpoint)
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	late := time.AfterFunc(wait, func() { cancel(errSilent) })
	defer late.Stop()
	far, err := agent.OpenConsole(ctx)
	if err == nil {
		err = far.Send(&nodepb.OpenConsoleRequest{Machine: m.UUID.String(), Kind: nodeKinds[kind]})
	}
	var first *nodepb.OpenConsoleResponse
	if err == nil || errors.Is(err, io.EOF) {
		first, err = far.Recv() // it has the error of Send too
	}
	switch {
	case errors.Is(context.Cause(ctx), errSilent):
		return nil, nil, errSilent.Wrap(err)
	case errors.Is(err, io.EOF):
		err = errStopped
	}
	if err != nil {
		cancel(err)
		return nil, nil, err
	}
	return far, first.GetData(), nil
}

// down carries what the console says.
func down(v vmpb.ConsoleService_OpenConsoleServer, far nodepb.NodeService_OpenConsoleClient) error {
	for {
		in, err := far.Recv()
		if errors.Is(err, io.EOF) {
			return errStopped
		}
		if err != nil {
			return err
		}
		if err := v.Send(&vmpb.OpenConsoleResponse{Data: in.GetData()}); err != nil {
			return err
		}
	}
}

// up carries what is typed. A viewer that leaves is no error.
func up(far nodepb.NodeService_OpenConsoleClient, v vmpb.ConsoleService_OpenConsoleServer) error {
	for {
		in, err := v.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := far.Send(&nodepb.OpenConsoleRequest{Data: in.GetData()}); err != nil {
			<-v.Context().Done() // down hears why
			return v.Context().Err()
		}
	}
}
