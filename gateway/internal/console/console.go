// Package console is the WebSocket by which browsers reach the consoles of hosts: it carries bytes between a viewer and vm, and
// ends when the viewer's rights do.
package console

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/pkg/fault"

	"slipway.dev/gateway/internal/edge"
)

const (
	// protocol is the subprotocol of consoles, and prefix begins the one that holds the ticket.
	protocol = "binary"
	prefix   = "slipway."

	maxMessage = 1 << 20 // of a viewer
	maxChunk   = 32 << 10
	maxOf      = 64 // viewers of one account
)

// Times are how long things may take. A viewer is let go at the latest after Check+Check without a right.
type Times struct {
	Check time.Duration // between two looks at the rights of a viewer
	Ping  time.Duration
	Idle  time.Duration // without anything typed
	Open  time.Duration
	Write time.Duration // of one message to a viewer
}

var usual = Times{Check: 2 * time.Second, Ping: 20 * time.Second, Idle: 30 * time.Minute, Open: 10 * time.Second, Write: 20 * time.Second}

var (
	errForeign = fault.New(codes.PermissionDenied, "FOREIGN_ORIGIN", "a page of another site may not open consoles")
	errBusy    = fault.New(codes.ResourceExhausted, "CONSOLE_BUSY", "the account has as many consoles open as it may have")
)

// Handler serves the WebSocket.
type Handler struct {
	screens vmpb.ConsoleServiceClient
	fail    func(http.ResponseWriter, *http.Request, error)
	times   Times

	mu   sync.Mutex
	open map[int32]int // by account
}

// New returns the handler of consoles that vm opens. fail writes refusals. Times that are zero are the usual ones.
func New(vm grpc.ClientConnInterface, fail func(http.ResponseWriter, *http.Request, error), times Times) *Handler {
	if times == (Times{}) {
		times = usual
	}
	return &Handler{screens: vmpb.NewConsoleServiceClient(vm), fail: fail, times: times, open: map[int32]int{}}
}

// ServeHTTP refuses who may not have consoles and what is no WebSocket of this site by an ordinary answer. All that comes
// later, such as a ticket that is not valid, is the code with which the WebSocket is closed: browsers show no other.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	q := edge.Of(r.Context())
	ticket, err := h.admit(r)
	if err != nil {
		h.fail(w, r, err)
		return
	}
	leave, err := h.enter(q.Account)
	if err != nil {
		h.fail(w, r, err)
		return
	}
	defer leave()
	c, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{protocol}})
	if err != nil {
		return // it has answered
	}
	defer func() { _ = c.CloseNow() }()
	c.SetReadLimit(maxMessage)
	v := &viewer{Handler: h, c: c, q: q, closing: edge.Closing(r.Context())}
	code, reason := v.run(context.WithoutCancel(r.Context()), ticket)
	_ = c.Close(code, reason) // the viewer may be gone
}

// admit returns the ticket of a request that may become a console.
func (h *Handler) admit(r *http.Request) (ticket string, err error) {
	if _, err := h.screens.CheckConsole(r.Context(), &vmpb.CheckConsoleRequest{}); err != nil {
		return "", err
	}
	if r.ProtoMajor != 1 || !strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
		return "", fault.Invalid.With("this path is a WebSocket")
	}
	if err := sameOrigin(r); err != nil {
		return "", err
	}
	offered := false
	for _, line := range r.Header["Sec-Websocket-Protocol"] {
		for name := range strings.SplitSeq(line, ",") {
			name = strings.TrimSpace(name)
			offered = offered || name == protocol
			if t, ok := strings.CutPrefix(name, prefix); ok {
				ticket = t
			}
		}
	}
	if !offered {
		return "", fault.Invalid.With("the subprotocols are %q and %q with the ticket", protocol, prefix)
	}
	return ticket, nil
}

// sameOrigin refuses what a page of another site opens, whatever its credential. Programs send no Origin.
func sameOrigin(r *http.Request) error {
	origin := r.Header.Get("Origin")
	if origin == "" {
		return nil
	}
	u, err := url.Parse(origin)
	if err != nil || !strings.EqualFold(u.Host, r.Host) {
		return errForeign
	}
	return nil
}

// enter counts a viewer of an account, until the returned function is called.
func (h *Handler) enter(account int32) (leave func(), err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.open[account] >= maxOf {
		return nil, errBusy
	}
	h.open[account]++
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.open[account]--; h.open[account] == 0 {
			delete(h.open, account)
		}
	}, nil
}
