//go:build e2e && !remote

package e2e

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// TestConsoles opens the display and the serial line of a machine as a browser does, on each hypervisor.
func TestConsoles(t *testing.T) {
	for _, hypervisor := range []string{"sim", "libvirt"} {
		t.Run(hypervisor, func(t *testing.T) {
			s := newStack(t, hypervisor)
			c := s.login()
			made := c.must("POST", "/vm/v3/host", object{"name": "screen", "os": c.tiny(), "password": "x"})
			c.complete(made)
			id := number(made, "id")
			c.console(id, "slipway-guest")
			s.browse(id)

			ticket := c.ticket(id, "serial")
			line := c.dial(ticket)
			read(t, line, "slipway-guest")
			closed(t, "a used ticket", c.dial(ticket), 4001)
			var screens []net.Conn
			for _, viewer := range []*client{c, s.login()} {
				screen := websocket.NetConn(within(t), viewer.open(id, "vnc"), websocket.MessageBinary)
				rfb{t, screen}.look()
				screens = append(screens, screen)
			}
			gone := s.login()
			ended := gone.open(id, "serial")
			gone.must("DELETE", "/auth/v4/self/session", nil)
			closed(t, "a session that ends", ended, 4003)

			c.complete(c.must("POST", fmt.Sprintf("/vm/v3/host/%d/stop", id), object{"force": true}))
			closed(t, "a machine that stops", line, 4005)
			for _, screen := range screens {
				if _, err := io.Copy(io.Discard, screen); websocket.CloseStatus(err) != 4005 {
					t.Errorf("the display of a machine that stops: %v", err)
				}
			}
			closed(t, "a machine that is off", c.open(id, "vnc"), 4005)
			c.complete(c.must("DELETE", fmt.Sprintf("/vm/v3/host/%d", id), nil))
		})
	}
}

func (c *client) ticket(id int, kind string) string {
	c.s.t.Helper()
	return c.must("POST", fmt.Sprintf("/vm/v3/host/%d/console", id), object{"kind": kind})["ticket"].(string)
}

func (c *client) open(id int, kind string) *websocket.Conn {
	c.s.t.Helper()
	return c.dial(c.ticket(id, kind))
}

func (c *client) dial(ticket string) *websocket.Conn {
	c.s.t.Helper()
	w, _, err := websocket.Dial(c.s.t.Context(), "ws"+strings.TrimPrefix(c.s.url, "http")+"/vm/v3/console", &websocket.DialOptions{
		HTTPHeader: http.Header{"X-Xsrf-Token": {c.token}}, Subprotocols: []string{"binary", "slipway." + ticket},
	})
	if err != nil {
		c.s.t.Fatal(err)
	}
	w.SetReadLimit(1 << 20)
	c.s.t.Cleanup(func() { _ = w.CloseNow() })
	return w
}

// within is how long anything may take on a machine with much to do.
func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// read reads until a text has come.
func read(t *testing.T, w *websocket.Conn, want string) {
	t.Helper()
	var got []byte
	for !bytes.Contains(got, []byte(want)) {
		_, b, err := w.Read(within(t))
		if err != nil {
			t.Fatalf("after %q: %v", got, err)
		}
		got = append(got, b...)
	}
}

// closed reads until the WebSocket is closed, with this code.
func closed(t *testing.T, what string, w *websocket.Conn, want websocket.StatusCode) {
	t.Helper()
	for {
		_, _, err := w.Read(within(t))
		if err == nil {
			continue
		}
		if websocket.CloseStatus(err) != want {
			t.Errorf("%s: %v, want %d", what, err, want)
		}
		return
	}
}
