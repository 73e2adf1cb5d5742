package console_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"google.golang.org/grpc"

	vmpb "slipway.dev/proto/vm/v3"

	"github.com/fullstorydev/grpchan/inprocgrpc"

	"slipway.dev/gateway/internal/console"
)

// screens answers OpenConsole as its function does.
type screens struct {
	vmpb.UnimplementedConsoleServiceServer
	open func(vmpb.ConsoleService_OpenConsoleServer) error
}

func (*screens) CheckConsole(context.Context, *vmpb.CheckConsoleRequest) (*vmpb.CheckConsoleResponse, error) {
	return &vmpb.CheckConsoleResponse{}, nil
}

func (s *screens) OpenConsole(v vmpb.ConsoleService_OpenConsoleServer) error { return s.open(v) }

// dial opens a console of a vm that does this, with these times.
func dial(t *testing.T, times console.Times, open func(vmpb.ConsoleService_OpenConsoleServer) error) *websocket.Conn {
	t.Helper()
	var vm inprocgrpc.Channel
	vmpb.RegisterConsoleServiceServer(&vm, &screens{open: open})
	s := httptest.NewServer(console.New(grpc.ClientConnInterface(&vm), func(w http.ResponseWriter, _ *http.Request, err error) {
		http.Error(w, err.Error(), http.StatusBadRequest)
	}, times))
	t.Cleanup(s.Close)
	c, _, err := websocket.Dial(t.Context(), "ws"+strings.TrimPrefix(s.URL, "http"), &websocket.DialOptions{
		Subprotocols: []string{"binary", "slipway.x"},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.CloseNow() })
	return c
}

func code(t *testing.T, c *websocket.Conn) websocket.StatusCode {
	t.Helper()
	for {
		_, _, err := c.Read(t.Context())
		if err == nil {
			continue
		}
		var end websocket.CloseError
		errors.As(err, &end)
		return end.Code
	}
}

// quiet opens a console that says nothing.
func quiet(v vmpb.ConsoleService_OpenConsoleServer) error {
	if err := v.Send(&vmpb.OpenConsoleResponse{Id: 1}); err != nil {
		return err
	}
	<-v.Context().Done()
	return v.Context().Err()
}

// patient are times that do not pass in a test.
func patient(change func(*console.Times)) console.Times {
	times := console.Times{Check: time.Hour, Ping: time.Hour, Idle: time.Hour, Open: time.Hour, Write: time.Hour}
	change(&times)
	return times
}

func TestIdleViewers(t *testing.T) {
	t.Parallel()
	c := dial(t, patient(func(x *console.Times) { x.Check, x.Idle = time.Millisecond, 0 }), quiet)
	if got := code(t, c); got != console.CodeIdle {
		t.Errorf("closed with %d", got)
	}
}

// TestNoRights: a viewer whose session cannot be asked for again is let go.
func TestNoRights(t *testing.T) {
	t.Parallel()
	c := dial(t, patient(func(x *console.Times) { x.Check = time.Millisecond }), quiet)
	if got := code(t, c); got != console.CodeRights {
		t.Errorf("closed with %d", got)
	}
}

// TestVMHangs: a vm that does not answer is given up.
func TestVMHangs(t *testing.T) {
	t.Parallel()
	c := dial(t, patient(func(x *console.Times) { x.Open = time.Millisecond }), func(v vmpb.ConsoleService_OpenConsoleServer) error {
		<-v.Context().Done()
		return v.Context().Err()
	})
	if got := code(t, c); got != websocket.StatusTryAgainLater {
		t.Errorf("closed with %d", got)
	}
}

// TestDeafViewers: a viewer that takes nothing does not keep the console open.
func TestDeafViewers(t *testing.T) {
	t.Parallel()
	ended := make(chan struct{})
	dial(t, patient(func(x *console.Times) { x.Write = 10 * time.Millisecond }), func(v vmpb.ConsoleService_OpenConsoleServer) error {
		defer close(ended)
		for {
			if err := v.Send(&vmpb.OpenConsoleResponse{Id: 1, Data: make([]byte, 32<<10)}); err != nil {
				return err
			}
		}
	})
	<-ended
}

// TestPings: a viewer that is gone without a word is noticed.
func TestPings(t *testing.T) {
	t.Parallel()
	ended := make(chan struct{})
	dial(t, patient(func(x *console.Times) { x.Ping = 10 * time.Millisecond }), func(v vmpb.ConsoleService_OpenConsoleServer) error {
		defer close(ended)
		return quiet(v)
	})
	<-ended // the client of this test reads nothing, and so answers no ping
}
