package sim

import (
	"bytes"
	"context"
	"net"

	"github.com/google/uuid"

	"slipway.dev/services/node/internal/hyper"
	"slipway.dev/services/node/internal/rfb"
)

// consoles are what is open of one run of a machine.
type consoles struct {
	screen *rfb.Screen
	open   map[net.Conn]bool // the machine's ends
}

// OpenConsole connects to the screen of a simulated machine, or to its serial line, on which a login prompt repeats what is typed.
func (d *Driver) OpenConsole(ctx context.Context, id uuid.UUID, kind hyper.Console) (net.Conn, error) {
	if err := d.enter(ctx, "OpenConsole", id); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	m := d.machines[id]
	if m == nil || m.Running == nil {
		return nil, hyper.ErrNotRunning
	}
	if err := d.ours(m); err != nil {
		return nil, err
	}
	c := d.consoles[id]
	if c == nil {
		c = &consoles{screen: rfb.New(m.Running.Name), open: map[net.Conn]bool{}}
		if d.consoles == nil {
			d.consoles = map[uuid.UUID]*consoles{}
		}
		d.consoles[id] = c
	}
	near, far := net.Pipe()
	c.open[far] = true
	go func() {
		if kind == hyper.Serial {
			login(far, m.Seed)
		} else {
			_ = c.screen.Serve(far) // a viewer that breaks the protocol is its own problem
		}
		_ = far.Close()
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(c.open, far)
	}()
	return near, nil
}

// hangUp ends the connections to the consoles of a machine that does not run.
func (d *Driver) hangUp(m *machine) {
	c := d.consoles[m.UUID]
	if c == nil || m.Running != nil {
		return
	}
	delete(d.consoles, m.UUID)
	for far := range c.open {
		_ = far.Close()
	}
}

// login is the prompt of the simulated guest: it repeats what is typed, and prompts again after each line.
func login(c net.Conn, s *hyper.Seed) {
	prompt := []byte("\r\nlogin: ")
	if s != nil {
		prompt = []byte("\r\n" + s.Hostname + " login: ")
	}
	if _, err := c.Write(prompt); err != nil {
		return
	}
	buf := make([]byte, 512)
	for {
		n, err := c.Read(buf)
		if err != nil {
			return
		}
		if _, err := c.Write(bytes.ReplaceAll(buf[:n], []byte("\r"), prompt)); err != nil {
			return
		}
	}
}

// Keys returns the keys that were typed on the screen of a running machine, as X11 symbols. For tests.
func (d *Driver) Keys(id uuid.UUID) []uint32 {
	d.mu.Lock()
	defer d.mu.Unlock()
	if c := d.consoles[id]; c != nil {
		return c.screen.Keys()
	}
	return nil
}
