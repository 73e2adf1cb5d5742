package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/coder/websocket"
)

// typed is how many round trips one measurement makes.
const typed = 500

// console is a WebSocket that carries a console.
type console struct {
	url, token string
	ticket     func() (string, error)
}

// consoles measures the consoles of a stack against the floor, in turn: both carry bytes between a WebSocket and the socket of a
// console that the bench serves in place of a machine's display.
func (b *bench) consoles(ctx context.Context) error {
	p, a, err := b.open("libvirt", "console", "")
	if err != nil {
		return err
	}
	defer p.stop()
	m, _, err := a.host("screen")
	if err != nil {
		return err
	}
	socket, err := displayOf(filepath.Join(b.dir, "console"))
	if err != nil {
		return err
	}
	if err := os.Remove(socket); err != nil {
		return err
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "unix", socket)
	if err != nil {
		return err
	}
	defer l.Close()
	go serveConsoles(l)
	floor, stop, err := b.floor(ctx, "FLOOR_POSTGRES_URL="+b.url, "FLOOR_CONSOLE="+socket)
	if err != nil {
		return err
	}
	defer stop()
	if err := b.compareConsoles(ctx,
		console{url: floor + "/console", ticket: func() (string, error) { return "", nil }},
		console{url: a.url + "/vm/v3/console", token: a.token, ticket: func() (string, error) { return a.ticket(m) }}); err != nil {
		return err
	}
	return a.remove(m)
}

// ticket returns one for the display of a host.
func (a *api) ticket(m made) (string, error) {
	var t struct {
		Ticket string `json:"ticket"`
	}
	err := a.do("POST", fmt.Sprintf("/vm/v3/host/%d/console", m.ID), map[string]string{"kind": "vnc"}, &t)
	return t.Ticket, err
}

// compareConsoles adds the rows of round trips and of what is carried.
func (b *bench) compareConsoles(ctx context.Context, floor, ours console) error {
	var trips [2][]time.Duration
	var rates [2][]float64
	for range b.rounds {
		for i, c := range []console{floor, ours} {
			trip, err := c.trip(ctx)
			if err != nil {
				return fmt.Errorf("round trips by %s: %w", c.url, err)
			}
			rate, err := c.rate(ctx, b.length)
			if err != nil {
				return fmt.Errorf("bytes by %s: %w", c.url, err)
			}
			trips[i], rates[i] = append(trips[i], trip), append(rates[i], rate)
		}
	}
	bare, whole := median(trips[0]), median(trips[1])
	b.row("floor: round trip of a key, bare copy", fmt.Sprintf("%.3f ms", bare.Seconds()*1000), "", "")
	b.row("round trip of a key by the console", fmt.Sprintf("%.3f ms", whole.Seconds()*1000), "bar 2 ms over the floor",
		fmt.Sprintf("%.3f ms over", (whole-bare).Seconds()*1000))
	b.row("floor: what a bare copy carries", fmt.Sprintf("%.0f MB/s", median(rates[0])/1e6), "", "")
	b.row("what the console carries", fmt.Sprintf("%.0f MB/s", median(rates[1])/1e6), "floor; bar 80 %", ratio(median(rates[1]), median(rates[0])))
	return nil
}

// open opens the console, which does from now on what the order says.
func (c console) open(ctx context.Context, order byte) (*websocket.Conn, error) {
	ticket, err := c.ticket()
	if err != nil {
		return nil, err
	}
	w, _, err := websocket.Dial(ctx, "ws"+strings.TrimPrefix(c.url, "http"), &websocket.DialOptions{ //nolint:bodyclose // it has none
		HTTPHeader: map[string][]string{"X-Xsrf-Token": {c.token}}, Subprotocols: []string{"binary", "slipway." + ticket},
	})
	if err != nil {
		return nil, err
	}
	w.SetReadLimit(-1)
	return w, w.Write(ctx, websocket.MessageBinary, []byte{order})
}

// trip returns the median of round trips of one byte.
func (c console) trip(ctx context.Context) (time.Duration, error) {
	w, err := c.open(ctx, echo)
	if err != nil {
		return 0, err
	}
	defer w.CloseNow() //nolint:errcheck // nothing more is wanted of it
	var took []time.Duration
	for range typed {
		at := time.Now()
		if err := w.Write(ctx, websocket.MessageBinary, []byte("x")); err != nil {
			return 0, err
		}
		if _, got, err := w.Read(ctx); err != nil || !bytes.Equal(got, []byte("x")) {
			return 0, fmt.Errorf("an answer %q: %w", got, err)
		}
		took = append(took, time.Since(at))
	}
	slices.Sort(took)
	return took[len(took)/2], nil
}

// rate returns how many bytes come in a second.
func (c console) rate(ctx context.Context, length time.Duration) (float64, error) {
	w, err := c.open(ctx, talk)
	if err != nil {
		return 0, err
	}
	defer w.CloseNow() //nolint:errcheck // nothing more is wanted of it
	bytes, start := 0, time.Now()
	for time.Since(start) < length {
		_, got, err := w.Read(ctx)
		if err != nil {
			return 0, err
		}
		bytes += len(got)
	}
	return float64(bytes) / time.Since(start).Seconds(), nil
}

// displayOf returns the socket of the display of the only machine of a stack, which its QEMU was started with.
func displayOf(dir string) (string, error) {
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return "", err
	}
	for _, f := range files {
		text, _ := os.ReadFile(f) // it may have ended
		socket := regexp.MustCompile(`\x00-vnc\x00(?:vnc=)?unix:([^\x00,]+)`).FindSubmatch(text)
		if socket != nil && bytes.Contains(text, []byte(dir)) {
			return string(socket[1]), nil
		}
	}
	return "", errors.New("no machine has a display")
}
