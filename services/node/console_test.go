package node_test

import (
	"bytes"
	"context"
	"io"
	"runtime"
	"testing"

	nodepb "slipway.dev/proto/node/v1"

	"slipway.dev/pkg/fault"
	"slipway.dev/services/node/internal/hypertest"
)

// screen is a console as a connection.
type screen struct {
	s    nodepb.NodeService_OpenConsoleClient
	rest []byte
}

func (c *screen) Read(b []byte) (int, error) {
	if len(c.rest) == 0 {
		m, err := c.s.Recv()
		if err != nil {
			return 0, err
		}
		c.rest = m.GetData()
	}
	n := copy(b, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

func (c *screen) Write(b []byte) (int, error) {
	return len(b), c.s.Send(&nodepb.OpenConsoleRequest{Data: bytes.Clone(b)})
}

// watch opens a console; the first answer says that it stands.
func watch(ctx context.Context, c nodepb.NodeServiceClient, machine string, kind nodepb.ConsoleKind) (*screen, error) {
	s, err := c.OpenConsole(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.Send(&nodepb.OpenConsoleRequest{Machine: machine, Kind: kind}); err != nil {
		return nil, err
	}
	m, err := s.Recv()
	return &screen{s, m.GetData()}, err
}

func until(t *testing.T, c io.Reader, text string) {
	t.Helper()
	var all []byte
	for b := make([]byte, 64); !bytes.Contains(all, []byte(text)); {
		n, err := c.Read(b)
		if err != nil {
			t.Fatalf("after %q: %v", all, err)
		}
		all = append(all, b[:n]...)
	}
}

func TestConsoles(t *testing.T) {
	t.Parallel()
	_, c, _ := start(t, t.TempDir())
	if err := make1(t, c, 1); err != nil {
		t.Fatal(err)
	}
	open := func(kind nodepb.ConsoleKind) *screen {
		t.Helper()
		s, err := watch(t.Context(), c, machine, kind)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	one, two := open(nodepb.ConsoleKind_CONSOLE_KIND_SERIAL), open(nodepb.ConsoleKind_CONSOLE_KIND_SERIAL)
	until(t, one, "slipway-guest ready web1") // what it said before
	if _, err := two.Write([]byte("root\r")); err != nil {
		t.Fatal(err)
	}
	for _, s := range []*screen{one, two} {
		until(t, s, "root\r\nweb1 login: ")
	}
	vnc := open(nodepb.ConsoleKind_CONSOLE_KIND_VNC)
	if err := hypertest.Handshake(vnc); err != nil {
		t.Fatal(err)
	}
	if err := hypertest.Picture(vnc); err != nil {
		t.Fatal(err)
	}
	if _, err := c.StopMachine(t.Context(), &nodepb.StopMachineRequest{Command: command(2), Force: true}); err != nil {
		t.Fatal(err)
	}
	for _, s := range []*screen{one, two, vnc} {
		if _, err := io.Copy(io.Discard, s); err != nil {
			t.Errorf("the end of a machine is an error: %v", err)
		}
	}
	_, err := watch(t.Context(), c, machine, nodepb.ConsoleKind_CONSOLE_KIND_VNC)
	if f, _ := fault.From(err); f == nil || f.Reason != "MACHINE_NOT_RUNNING" {
		t.Errorf("a machine that is off: %v", err)
	}
}

func TestConsolesAreRefused(t *testing.T) {
	t.Parallel()
	_, c, _ := start(t, t.TempDir())
	if err := make1(t, c, 1); err != nil {
		t.Fatal(err)
	}
	refused := func(machine string, kind nodepb.ConsoleKind, want string) {
		t.Helper()
		_, err := watch(t.Context(), c, machine, kind)
		if f, _ := fault.From(err); f == nil || f.Reason != want {
			t.Errorf("console %s of %s: %v, want %s", kind, machine, err, want)
		}
	}
	refused("web1", nodepb.ConsoleKind_CONSOLE_KIND_VNC, fault.Invalid.Reason)
	refused(machine, nodepb.ConsoleKind_CONSOLE_KIND_UNSPECIFIED, fault.Invalid.Reason)
	refused("11111111-2222-3333-4444-555555555556", nodepb.ConsoleKind_CONSOLE_KIND_SERIAL, "MACHINE_NOT_RUNNING")
	ctx, leave := context.WithCancel(t.Context())
	var open []*screen
	for range 16 {
		s, err := watch(ctx, c, machine, nodepb.ConsoleKind_CONSOLE_KIND_SERIAL)
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, s)
	}
	refused(machine, nodepb.ConsoleKind_CONSOLE_KIND_VNC, "CONSOLE_BUSY")
	runtime.KeepAlive(open) // a stream within the process ends when it is collected
	leave()
	for { // they leave by and by
		_, err := watch(t.Context(), c, machine, nodepb.ConsoleKind_CONSOLE_KIND_VNC)
		if err == nil {
			return
		}
		if f, _ := fault.From(err); f == nil || f.Reason != "CONSOLE_BUSY" {
			t.Fatal(err)
		}
	}
}
