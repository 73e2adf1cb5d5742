package console

import (
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/google/uuid"

	nodepb "slipway.dev/proto/node/v1"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/rpc"
)

// badNode answers OpenConsole as its function does.
type badNode struct {
	nodepb.UnimplementedNodeServiceServer
	answer func(nodepb.NodeService_OpenConsoleServer) error
}

func (n *badNode) OpenConsole(s nodepb.NodeService_OpenConsoleServer) error { return n.answer(s) }

// TestBadNodes: a node that hangs, or that ends at once, gives no console, and an error that says why.
func TestBadNodes(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		answer func(nodepb.NodeService_OpenConsoleServer) error
		want   error
	}{
		"hangs": {func(s nodepb.NodeService_OpenConsoleServer) error {
			<-s.Context().Done()
			return s.Context().Err()
		}, errSilent},
		"ends":    {func(nodepb.NodeService_OpenConsoleServer) error { return nil }, errStopped},
		"refuses": {func(nodepb.NodeService_OpenConsoleServer) error { return fault.Unavailable }, fault.Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := rpc.NewServer(slog.New(slog.DiscardHandler), nil)
			nodepb.RegisterNodeServiceServer(s, &badNode{answer: tt.answer})
			dial := func(uuid.UUID, string) (nodepb.NodeServiceClient, error) {
				return nodepb.NewNodeServiceClient(s.Local("vm")), nil
			}
			wait := time.Millisecond
			if name != "hangs" {
				wait = time.Hour
			}
			_, _, err := open(t.Context(), dial, machine{UUID: uuid.New()}, "vnc", wait)
			var want *fault.Fault
			if f, ok := fault.From(err); !errors.As(tt.want, &want) || !ok || f.Reason != want.Reason {
				t.Errorf("opened: %v, want %v", err, tt.want)
			}
		})
	}
}

func TestTicketsAreTheirOwn(t *testing.T) {
	t.Parallel()
	one, hash := newTicket()
	two, other := newTicket()
	if one == two || len(one) != 64 || string(hash) == string(other) || string(hashOf(one)) != string(hash) {
		t.Errorf("tickets %q and %q", one, two)
	}
	good := ticket{HostID: 1, AccountID: 4, SessionID: 9, Kind: "vnc", Fresh: true}
	if err := good.check(4, 9); err != nil {
		t.Error(err)
	}
	old := good
	old.Fresh = false
	for _, err := range []error{good.check(5, 9), good.check(4, 8), old.check(4, 9)} {
		if !errors.Is(err, errTicket) {
			t.Errorf("a ticket of another, or an old one: %v", err)
		}
	}
}
