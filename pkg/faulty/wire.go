package faulty

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

type inProcess interface {
	InProcessConn() (net.Conn, error)
}

// InProcess returns a NATS server whose messages, published and delivered, are faulty: a message breaks the connection before
// or after it arrives, is delayed, is repeated, or is overtaken by the next.
func (p *Plan) InProcess(s inProcess) inProcess { return server{s, p} }

type server struct {
	next inProcess
	plan *Plan
}

func (s server) InProcessConn() (net.Conn, error) {
	far, err := s.next.InProcessConn()
	if err != nil {
		return nil, err
	}
	near, end := net.Pipe()
	l := link{s.plan, end, far}
	go l.carry(&lane{dst: far}, end, "PUB", "HPUB")
	go l.carry(&lane{dst: end}, far, "MSG", "HMSG")
	return near, nil
}

// link relays between a client and its server and parses just enough of their protocol to split it into messages.
type link struct {
	plan *Plan
	a, b net.Conn
}

func (l link) carry(to *lane, from net.Conn, verbs ...string) {
	defer l.a.Close()
	defer l.b.Close()
	faults := []Fault{Before, After, Delay, Twice, Reorder}
	if l.plan.Lossy {
		faults = []Fault{Lost}
	}
	for r := bufio.NewReader(from); ; {
		f, message, err := frame(r, verbs)
		if err != nil {
			return
		}
		if !message {
			if to.put(f) != nil {
				return
			}
			continue
		}
		switch l.plan.next(faults...) {
		case Before:
			return
		case After:
			_ = to.pass(f) // the connection breaks in any case
			return
		case Lost:
			continue
		case Twice:
			err = to.pass(append(slices.Clone(f), f...))
		case Reorder:
			err = to.hold(f, l.plan.MaxDelay)
		default:
			err = to.pass(f)
		}
		if err != nil {
			return
		}
	}
}

// frame reads the next protocol line, with the payload if the line begins a message.
func frame(r *bufio.Reader, verbs []string) (f []byte, message bool, err error) {
	f, err = r.ReadBytes('\n')
	if err != nil {
		return nil, false, err
	}
	words := strings.Fields(string(f))
	if len(words) < 3 || !slices.Contains(verbs, strings.ToUpper(words[0])) {
		return f, false, nil
	}
	size, err := strconv.ParseUint(words[len(words)-1], 10, 31)
	if err != nil {
		return nil, false, fmt.Errorf("faulty: %q: %w", f, err)
	}
	body := make([]byte, size+2) // and the end of its line
	if _, err := io.ReadFull(r, body); err != nil {
		return nil, false, err
	}
	return append(f, body...), true, nil
}

// lane is one direction of a link.
type lane struct {
	mu   sync.Mutex
	dst  net.Conn
	held []byte // to be overtaken by the next message
}

func (l *lane) put(f []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, err := l.dst.Write(f)
	return err
}

// pass sends a message, and after it the held one, which it thus overtakes.
func (l *lane) pass(f []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if f, l.held = append(f, l.held...), nil; len(f) == 0 {
		return nil
	}
	_, err := l.dst.Write(f)
	return err
}

// hold keeps a message until the next has passed, or until patience is over.
func (l *lane) hold(f []byte, patience time.Duration) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.held != nil { // it overtakes the one that waits already
		f, l.held = append(f, l.held...), nil
		_, err := l.dst.Write(f)
		return err
	}
	l.held = f
	time.AfterFunc(patience, func() { _ = l.pass(nil) }) // fails only on a connection that is closed
	return nil
}
