package gateway_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"google.golang.org/grpc/codes"

	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/pkg/fault"

	"slipway.dev/gateway"
)

// fakeScreens is a console that says "hello" and repeats what is typed, for the ticket "good". Other tickets are the reasons of
// refusals.
type fakeScreens struct {
	vmpb.UnimplementedConsoleServiceServer
	gone   atomic.Bool // the host is the caller's no longer
	opened atomic.Int32
}

func (f *fakeScreens) CheckConsole(_ context.Context, r *vmpb.CheckConsoleRequest) (*vmpb.CheckConsoleResponse, error) {
	if r.GetId() != 0 && f.gone.Load() {
		return nil, fault.NotFound
	}
	return &vmpb.CheckConsoleResponse{}, nil
}

var refusals = map[string]error{
	"CONSOLE_TICKET":      fault.New(codes.PermissionDenied, "CONSOLE_TICKET", "the ticket is not valid"),
	"MACHINE_NOT_RUNNING": fault.New(codes.FailedPrecondition, "MACHINE_NOT_RUNNING", "the machine does not run"),
	"CONSOLE_MISSING":     fault.New(codes.FailedPrecondition, "CONSOLE_MISSING", "no such console until the next start"),
	"NOT_FOUND":           fault.NotFound,
	"UNAVAILABLE":         fault.Unavailable,
	"panic":               errors.New("a secret of the server"),
}

func (f *fakeScreens) OpenConsole(s vmpb.ConsoleService_OpenConsoleServer) error {
	first, err := s.Recv()
	if err != nil {
		return err
	}
	if first.GetTicket() != "good" {
		return refusals[first.GetTicket()]
	}
	f.opened.Add(1)
	defer f.opened.Add(-1)
	if err := s.Send(&vmpb.OpenConsoleResponse{Id: 7, Data: []byte("hello")}); err != nil {
		return err
	}
	for {
		in, err := s.Recv()
		if err != nil {
			return err
		}
		if string(in.GetData()) == "halt" {
			return refusals["MACHINE_NOT_RUNNING"]
		}
		if err := s.Send(&vmpb.OpenConsoleResponse{Data: in.GetData()}); err != nil {
			return err
		}
	}
}

// served is a gateway that listens.
type served struct {
	*stack
	addr   string
	server *http.Server
}

func serve(t *testing.T, log *slog.Logger) *served {
	t.Helper()
	s := &served{stack: newStack(t, gateway.Config{}, log)}
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.addr, s.server = l.Addr().String(), s.Server("")
	go func() { _ = s.server.Serve(l) }()
	t.Cleanup(func() { _ = s.server.Close() })
	return s
}

// dial opens a console with a ticket, as the account of a token.
func (s *served) dial(t *testing.T, token, ticket string, header ...string) (*websocket.Conn, *http.Response, error) {
	t.Helper()
	h := http.Header{}
	if token != "" {
		h.Set("X-Xsrf-Token", token)
	}
	for i := 0; i < len(header); i += 2 {
		h.Set(header[i], header[i+1])
	}
	c, resp, err := websocket.Dial(t.Context(), "ws://"+s.addr+"/vm/v3/console", &websocket.DialOptions{
		HTTPHeader: h, Subprotocols: []string{"binary", "slipway." + ticket},
	})
	if err == nil {
		t.Cleanup(func() { _ = c.CloseNow() })
	}
	return c, resp, err
}

func (s *served) open(t *testing.T, token, ticket string) *websocket.Conn {
	t.Helper()
	c, resp, err := s.dial(t, token, ticket)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusSwitchingProtocols || c.Subprotocol() != "binary" {
		t.Fatalf("%d, subprotocol %q", resp.StatusCode, c.Subprotocol())
	}
	return c
}

// says reads messages until they are this text.
func says(t *testing.T, c *websocket.Conn, want string) {
	t.Helper()
	for got := ""; got != want; {
		kind, b, err := c.Read(t.Context())
		if got += string(b); err != nil || kind != websocket.MessageBinary || !strings.HasPrefix(want, got) {
			t.Fatalf("after %q: %v, want %q", got, err, want)
		}
	}
}

// closes reads until the end, which has this code.
func closes(t *testing.T, what string, c *websocket.Conn, want websocket.StatusCode) (reason string) {
	t.Helper()
	for {
		_, _, err := c.Read(t.Context())
		if err == nil {
			continue
		}
		var end websocket.CloseError
		if errors.As(err, &end); end.Code != want {
			t.Errorf("%s: %v, want %d", what, err, want)
		}
		return end.Reason
	}
}

func TestConsole(t *testing.T) {
	t.Parallel()
	log := &lockedBuffer{}
	s := serve(t, slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	one, two := s.open(t, "user", "good"), s.open(t, "admin", "good")
	for _, c := range []*websocket.Conn{one, two} {
		says(t, c, "hello")
		long := bytes.Repeat([]byte("0123456789abcdef"), 10_000) // more than one message has
		go func() { _ = c.Write(t.Context(), websocket.MessageBinary, long) }()
		says(t, c, string(long))
	}
	if err := one.Write(t.Context(), websocket.MessageBinary, []byte("halt")); err != nil {
		t.Fatal(err)
	}
	if reason := closes(t, "a machine that stops", one, 4005); reason != "the machine does not run" {
		t.Errorf("reason %q", reason)
	}
	if err := two.Write(t.Context(), websocket.MessageText, []byte("typed in xterm.js: é")); err != nil {
		t.Fatal(err)
	}
	says(t, two, "typed in xterm.js: é")
	for ticket, code := range map[string]websocket.StatusCode{
		"CONSOLE_TICKET": 4001, "NOT_FOUND": 4004, "MACHINE_NOT_RUNNING": 4005, "CONSOLE_MISSING": 4006, "UNAVAILABLE": 1013, "panic": 1011,
	} {
		if reason := closes(t, ticket, s.open(t, "user", ticket), code); strings.Contains(reason, "secret") {
			t.Errorf("%s: %q", ticket, reason)
		}
	}
	if text := log.String(); strings.Contains(text, "slipway.good") || strings.Contains(text, "CONSOLE_TICKET") || !strings.Contains(text, "status=101") {
		t.Errorf("the log: %s", text)
	}
}

// TestConsoleRefuses: who has no session, pages of other sites and what is no WebSocket get an ordinary answer.
func TestConsoleRefuses(t *testing.T) {
	t.Parallel()
	s := serve(t, slog.New(slog.DiscardHandler))
	for what, tt := range map[string]struct {
		token  string
		header []string
		want   int
	}{
		"no session":               {"", nil, 401},
		"another site":             {"user", []string{"Origin", "https://evil.example"}, 403},
		"another port":             {"user", []string{"Origin", "http://127.0.0.1:1"}, 403},
		"an opaque origin":         {"user", []string{"Origin", "null"}, 403},
		"a cookie of another site": {"", []string{"Origin", "https://evil.example", "Cookie", "ses6=user"}, 403},
		"this site":                {"user", []string{"Origin", "http://" + s.addr}, 101},
		"a cookie of this site":    {"", []string{"Origin", "http://" + s.addr, "Cookie", "ses6=user"}, 101},
	} {
		_, resp, err := s.dial(t, tt.token, "good", tt.header...)
		if resp == nil || resp.StatusCode != tt.want {
			t.Errorf("%s: %v, %v, want %d", what, resp, err, tt.want)
		}
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.addr+"/vm/v3/console", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Xsrf-Token", "user")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if b, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != 400 || !strings.Contains(string(b), "WebSocket") {
		t.Errorf("no WebSocket: %d %s %v", resp.StatusCode, b, err)
	}
	_, resp, err = websocket.Dial(t.Context(), "ws://"+s.addr+"/vm/v3/console", &websocket.DialOptions{
		HTTPHeader: http.Header{"X-Xsrf-Token": {"user"}}, Subprotocols: []string{"slipway.good"},
	})
	if resp == nil || resp.StatusCode != 400 {
		t.Errorf("without the subprotocol: %v, %v", resp, err)
	}
}

// TestConsoleEnds: a console ends with the session, with the right to the host and with the gateway, and leaves nothing open.
func TestConsoleEnds(t *testing.T) {
	t.Parallel()
	for what, tt := range map[string]struct {
		end  func(*served)
		want websocket.StatusCode
	}{
		"a logout":        {func(s *served) { s.auth.gone.Store(true) }, 4003},
		"auth is away":    {func(s *served) { s.auth.down.Store(true) }, 1013},
		"another owner":   {func(s *served) { s.screens.gone.Store(true) }, 4004},
		"a gateway stops": {func(s *served) { go func() { _ = s.server.Shutdown(context.Background()) }() }, 1001},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			s := serve(t, slog.New(slog.DiscardHandler))
			c := s.open(t, "user", "good")
			says(t, c, "hello")
			tt.end(s)
			closes(t, what, c, tt.want)
			for s.screens.opened.Load() != 0 {
				time.Sleep(time.Millisecond) // between two looks; the time limit of the test is that of vm
			}
		})
	}
}
