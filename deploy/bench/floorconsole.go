package main

import (
	"io"
	"net"
	"net/http"
	"os"

	"github.com/coder/websocket"
)

// Orders to a console of the bench, its first byte.
const (
	echo = 'e' // repeat what is typed
	talk = 't' // say as much as can be carried
)

// serveConsoles serves consoles until the listener is closed.
func serveConsoles(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			var order [1]byte
			if _, err := io.ReadFull(c, order[:]); err != nil {
				return
			}
			if order[0] == echo {
				_, _ = io.Copy(c, c)
				return
			}
			for block := make([]byte, 64<<10); err == nil; {
				_, err = c.Write(block)
			}
		}()
	}
}

// carryConsole copies between a WebSocket and the socket FLOOR_CONSOLE, as directly as Go can.
func carryConsole(w http.ResponseWriter, r *http.Request) {
	ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{"binary"}})
	if err != nil {
		return
	}
	defer ws.CloseNow() //nolint:errcheck // the viewer has left
	var d net.Dialer
	far, err := d.DialContext(r.Context(), "unix", os.Getenv("FLOOR_CONSOLE"))
	if err != nil {
		return
	}
	defer far.Close()
	near := websocket.NetConn(r.Context(), ws, websocket.MessageBinary)
	go func() {
		_, _ = io.Copy(far, near)
		_ = far.Close()
	}()
	_, _ = io.Copy(near, far)
}
