package console

import (
	"context"
	"io"
	"net"
	"sync"
	"time"

	"github.com/google/uuid"
)

const (
	chunk = 4 << 10
	// behind is how many chunks a viewer may be behind before it is left out.
	behind = 64
	// patience is how long a guest may take to accept what was typed.
	patience = 10 * time.Second
)

// Lines share the serial lines of machines: a line has one connection, and every viewer sees all of its output.
type Lines struct {
	open func(context.Context, uuid.UUID) (net.Conn, error)

	mu    sync.Mutex
	lines map[uuid.UUID]*line
}

// NewLines returns Lines whose connections open makes.
func NewLines(open func(context.Context, uuid.UUID) (net.Conn, error)) *Lines {
	return &Lines{open: open, lines: map[uuid.UUID]*line{}}
}

// line is the connection to one serial line. The mutex of Lines guards viewers.
type line struct {
	ready   chan struct{} // closed when conn or err is set
	conn    net.Conn
	err     error
	viewers map[*Viewer]bool

	typing sync.Mutex
}

// Viewer is one viewer of a line.
type Viewer struct {
	lines *Lines
	id    uuid.UUID
	line  *line
	out   chan []byte
	rest  []byte
}

// Join makes a viewer of the machine's line, whose connection is made for the first one.
func (l *Lines) Join(ctx context.Context, id uuid.UUID) (*Viewer, error) {
	l.mu.Lock()
	n, there := l.lines[id]
	if !there {
		n = &line{ready: make(chan struct{}), viewers: map[*Viewer]bool{}}
		l.lines[id] = n
	}
	v := &Viewer{lines: l, id: id, line: n, out: make(chan []byte, behind)}
	n.viewers[v] = true
	l.mu.Unlock()
	if !there {
		n.conn, n.err = l.open(ctx, id)
		close(n.ready)
		if n.err != nil {
			l.end(id, n)
		} else {
			go l.pump(id, n)
		}
	}
	select {
	case <-n.ready:
	case <-ctx.Done():
		l.leave(v)
		return nil, ctx.Err()
	}
	return v, n.err
}

// pump gives every viewer what the line says, until it ends. It never waits for a viewer: the guest would wait with it.
func (l *Lines) pump(id uuid.UUID, n *line) {
	for {
		buf := make([]byte, chunk)
		size, err := n.conn.Read(buf)
		if size > 0 {
			l.mu.Lock()
			for v := range n.viewers {
				select {
				case v.out <- buf[:size]:
				default:
					l.drop(v)
				}
			}
			l.mu.Unlock()
		}
		if err != nil {
			l.end(id, n)
			return
		}
	}
}

// end ends a line and its viewers.
func (l *Lines) end(id uuid.UUID, n *line) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lines[id] == n {
		delete(l.lines, id)
	}
	for v := range n.viewers {
		l.drop(v)
	}
	if n.conn != nil {
		_ = n.conn.Close()
	}
}

// drop ends a viewer; the caller holds the mutex.
func (l *Lines) drop(v *Viewer) {
	delete(v.line.viewers, v)
	close(v.out)
}

// leave ends a viewer, and the line with the last one.
func (l *Lines) leave(v *Viewer) {
	l.mu.Lock()
	if !v.line.viewers[v] {
		l.mu.Unlock()
		return
	}
	l.drop(v)
	last := len(v.line.viewers) == 0
	if last && l.lines[v.id] == v.line {
		delete(l.lines, v.id) // the next viewer makes a connection of its own
	}
	l.mu.Unlock()
	if !last {
		return
	}
	go func() { // the connection may still be on its way
		<-v.line.ready
		l.end(v.id, v.line)
	}()
}

// Read returns what the line says. It ends when the line does, and for a viewer that is too far behind.
func (v *Viewer) Read(b []byte) (int, error) {
	if len(v.rest) == 0 {
		next, ok := <-v.out
		if !ok {
			return 0, io.EOF
		}
		v.rest = next
	}
	n := copy(b, v.rest)
	v.rest = v.rest[n:]
	return n, nil
}

// Write types on the line. What two viewers type is not mixed within a call.
func (v *Viewer) Write(b []byte) (int, error) {
	v.line.typing.Lock()
	defer v.line.typing.Unlock()
	if err := v.line.conn.SetWriteDeadline(time.Now().Add(patience)); err != nil {
		return 0, err
	}
	return v.line.conn.Write(b)
}

// Close ends the viewer.
func (v *Viewer) Close() error {
	v.lines.leave(v)
	return nil
}
