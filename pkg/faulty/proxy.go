package faulty

import (
	"context"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Proxy is a TCP server in front of another server, whose connections a test breaks in the ways in which a server dies.
type Proxy struct {
	addr            string
	network, target string

	mu    sync.Mutex
	l     *net.TCPListener // nil while connections are refused
	conns map[*net.TCPConn]net.Conn
	quiet bool
	all   sync.WaitGroup
}

// NewProxy makes a proxy on a free port that leads to target. Its connections work until Break, Refuse or Silence.
func NewProxy(network, target string) (*Proxy, error) {
	p := &Proxy{addr: "127.0.0.1:0", network: network, target: target, conns: map[*net.TCPConn]net.Conn{}}
	return p, p.Open()
}

// Addr returns host and port of the proxy. They stay the same.
func (p *Proxy) Addr() string { return p.addr }

// Open takes new connections again after Refuse.
func (p *Proxy) Open() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.l != nil {
		return nil
	}
	// A probe of the proxy would keep a client in good hope after Silence.
	cfg := net.ListenConfig{KeepAlive: -1}
	cfg.SetMultipathTCP(false) // such a socket takes no filter
	listener, err := cfg.Listen(context.Background(), "tcp", p.addr)
	if err != nil {
		return err
	}
	l, ok := listener.(*net.TCPListener)
	if !ok {
		return fmt.Errorf("faulty: listened on a %T", listener)
	}
	p.l, p.addr = l, l.Addr().String()
	p.all.Go(func() { p.accept(l) })
	return nil
}

// Break ends all connections, as a server that is killed does.
func (p *Proxy) Break() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for near, far := range p.conns {
		_ = near.SetLinger(0)
		_ = near.Close()
		_ = far.Close()
	}
	clear(p.conns)
}

// Refuse ends all connections and refuses new ones until Open.
func (p *Proxy) Refuse() {
	p.mu.Lock()
	if p.l != nil {
		_ = p.l.Close()
		p.l = nil
	}
	p.mu.Unlock()
	p.Break()
}

// Silence cuts the link for good: what clients send is neither acknowledged nor answered, nothing is closed, and new
// connections are not answered either. The server behind the proxy sees the end of its connections.
func (p *Proxy) Silence() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.quiet = true
	err := drop(p.l)
	for near, far := range p.conns {
		if e := drop(near); err == nil {
			err = e
		}
		_ = far.Close()
	}
	return err
}

// Close ends everything.
func (p *Proxy) Close() {
	p.Refuse()
	p.all.Wait()
}

// drop has the kernel drop each packet that arrives at a socket, by a filter that keeps 0 bytes of it.
func drop(c syscall.Conn) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	none := []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K}}
	var optErr error
	err = raw.Control(func(fd uintptr) {
		optErr = unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER,
			&unix.SockFprog{Len: 1, Filter: &none[0]})
	})
	if err != nil {
		return err
	}
	return optErr
}

func (p *Proxy) accept(l *net.TCPListener) {
	for {
		near, err := l.AcceptTCP()
		if err != nil {
			return
		}
		far, err := net.Dial(p.network, p.target)
		if err != nil {
			_ = near.Close()
			continue
		}
		p.mu.Lock()
		if p.l == l {
			p.conns[near] = far
			p.all.Go(func() { p.carry(near, far) })
		} else {
			_ = near.Close()
			_ = far.Close()
		}
		p.mu.Unlock()
	}
}

// carry passes bytes both ways until the client goes away or the test breaks the connection.
func (p *Proxy) carry(near *net.TCPConn, far net.Conn) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = io.Copy(near, far)
		p.mu.Lock()
		defer p.mu.Unlock()
		if !p.quiet {
			_ = near.CloseWrite()
		}
	}()
	_, _ = io.Copy(far, near)
	_ = far.Close()
	<-ended
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.quiet {
		return // the client must not hear of the end; Break closes the connection
	}
	delete(p.conns, near)
	_ = near.Close()
}
