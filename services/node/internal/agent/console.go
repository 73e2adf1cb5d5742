package agent

import (
	"bytes"
	"context"
	"io"
	"net"
	"sync"

	"github.com/google/uuid"
	"google.golang.org/grpc/codes"

	nodepb "slipway.dev/proto/node/v1"

	"slipway.dev/pkg/fault"
	"slipway.dev/services/node/internal/console"
	"slipway.dev/services/node/internal/hyper"
)

const (
	// consoleChunk is the most that one message of a console carries.
	consoleChunk = 128 << 10
	// consoleTail is how much of what a serial line said before a viewer gets first.
	consoleTail = 4 << 10
	// viewersMost is how many viewers a machine may have at once.
	viewersMost = 16
)

// errViewers refuses one viewer too many.
var errViewers = fault.New(codes.ResourceExhausted, "CONSOLE_BUSY", "the machine has as many viewers as it may have")

// viewers counts the viewers of machines, and shares their serial lines.
type viewers struct {
	lines *console.Lines

	mu    sync.Mutex
	count map[uuid.UUID]int
}

func newViewers(d hyper.Driver) *viewers {
	return &viewers{count: map[uuid.UUID]int{}, lines: console.NewLines(func(ctx context.Context, id uuid.UUID) (net.Conn, error) {
		return d.OpenConsole(ctx, id, hyper.Serial)
	})}
}

// enter counts a viewer, until the returned function is called.
func (v *viewers) enter(id uuid.UUID) (leave func(), err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.count[id] >= viewersMost {
		return nil, errViewers.With("the machine has %d viewers", viewersMost)
	}
	v.count[id]++
	return func() {
		v.mu.Lock()
		defer v.mu.Unlock()
		if v.count[id]--; v.count[id] == 0 {
			delete(v.count, id)
		}
	}, nil
}

var consoleKinds = map[nodepb.ConsoleKind]hyper.Console{
	nodepb.ConsoleKind_CONSOLE_KIND_VNC:    hyper.VNC,
	nodepb.ConsoleKind_CONSOLE_KIND_SERIAL: hyper.Serial,
}

// OpenConsole carries what a viewer and a console say to each other, until one of them ends.
func (a *Agent) OpenConsole(s nodepb.NodeService_OpenConsoleServer) error {
	first, err := s.Recv()
	if err != nil {
		return err
	}
	id, err := machineID(first.GetMachine())
	if err != nil {
		return err
	}
	kind, known := consoleKinds[first.GetKind()]
	if !known {
		return fault.Invalid.With("unknown").On("kind")
	}
	leave, err := a.viewers.enter(id)
	if err != nil {
		return err
	}
	defer leave()
	c, before, err := a.connect(s.Context(), id, kind)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := s.Send(&nodepb.OpenConsoleResponse{Data: before}); err != nil {
		return err
	}
	defer context.AfterFunc(s.Context(), func() { _ = c.Close() })()
	go typeOn(c, s)
	shown := make(chan error, 1)
	go func() { shown <- show(s, c) }()
	select {
	case err := <-shown:
		return err
	case <-s.Context().Done(): // a viewer that reads nothing holds show
		return s.Context().Err()
	}
}

// connect connects to a console, and returns what it said before.
func (a *Agent) connect(ctx context.Context, id uuid.UUID, kind hyper.Console) (c io.ReadWriteCloser, before []byte, err error) {
	if kind == hyper.VNC {
		c, err = a.driver.OpenConsole(ctx, id, kind)
		return c, nil, err
	}
	if before, err = a.driver.Console(ctx, id, consoleTail); err != nil {
		return nil, nil, err
	}
	c, err = a.viewers.lines.Join(ctx, id)
	return c, before, err
}

// typeOn writes what the viewer says to the console. It ends the connection when the viewer leaves.
func typeOn(c io.WriteCloser, s nodepb.NodeService_OpenConsoleServer) {
	defer c.Close()
	for {
		in, err := s.Recv()
		if err != nil {
			return
		}
		if _, err := c.Write(in.GetData()); err != nil {
			return
		}
	}
}

// show sends the viewer what the console says. The end of the console is no error.
func show(s nodepb.NodeService_OpenConsoleServer, c io.Reader) error {
	buf := make([]byte, consoleChunk)
	for {
		n, err := c.Read(buf)
		if n > 0 { // a message belongs to who gets it
			if err := s.Send(&nodepb.OpenConsoleResponse{Data: bytes.Clone(buf[:n])}); err != nil {
				return err
			}
		}
		if err != nil {
			return nil //nolint:nilerr // a closed connection is the end
		}
	}
}
