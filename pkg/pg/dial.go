package pg

import (
	"context"
	"net"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"golang.org/x/sys/unix"
)

const (
	// userTimeout bounds how long the server may leave what was sent unacknowledged. Without it TCP believes for 15 minutes in
	// a connection whose other end is gone.
	userTimeout = 8 * time.Second
	// pingTimeout bounds how long a connection that was idle may take to prove that it works.
	pingTimeout = 2 * time.Second
	// connectTimeout bounds the attempt at one server, unless the URL says otherwise.
	connectTimeout = 3 * time.Second
)

// keepAlive finds within ten seconds that the other end of a connection on which nothing is sent is gone.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 4 * time.Second, Interval: 2 * time.Second, Count: 3}

// dialer connects by TCP, with bounds on the silence of the other end, or to a UNIX socket, which needs none.
var dialer = net.Dialer{KeepAliveConfig: keepAlive, Control: boundSilence}

func boundSilence(network, _ string, c syscall.RawConn) error {
	if network == "unix" {
		return nil
	}
	var optErr error
	err := c.Control(func(fd uintptr) {
		optErr = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(userTimeout.Milliseconds()))
	})
	if err != nil {
		return err
	}
	return optErr
}

// servers orders the servers of a URL for the next connection of a pool: the one that last took writes comes first, those that
// failed come last, and the others keep the order of the URL.
type servers struct {
	mu    sync.Mutex
	steps int
	rank  map[string]int    // of an address, the highest first; 0 was not tried
	names map[string]string // of an IP address: the host that it was looked up for
}

func newServers() *servers { return &servers{rank: map[string]int{}, names: map[string]string{}} }

// attach has the connections of c try the servers in this order.
func (s *servers) attach(c *pgx.ConnConfig) {
	dial, lookup, validate := c.DialFunc, c.LookupFunc, c.ValidateConnect
	c.LookupFunc = func(ctx context.Context, host string) ([]string, error) {
		list, err := lookup(ctx, host)
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, ip := range list {
			s.names[ip] = host
		}
		return list, err
	}
	c.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil {
			s.failed(address)
		}
		return conn, err
	}
	c.ValidateConnect = func(ctx context.Context, conn *pgconn.PgConn) error {
		err := validate(ctx, conn)
		if address := conn.Conn().RemoteAddr().String(); err != nil {
			s.failed(address)
		} else {
			s.worked(address)
		}
		return err
	}
}

func (s *servers) worked(address string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.steps++
	s.rank[s.named(address)] = s.steps
}

func (s *servers) failed(address string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.steps++
	s.rank[s.named(address)] = -s.steps
}

// named returns the address with the host as the URL spells it.
func (s *servers) named(address string) string {
	ip, port, err := net.SplitHostPort(address)
	if host, ok := s.names[ip]; err == nil && ok {
		return net.JoinHostPort(host, port)
	}
	return address
}

// order is for pgxpool.Config.BeforeConnect, which gives it a copy of the configuration.
func (s *servers) order(_ context.Context, c *pgx.ConnConfig) error {
	if len(c.Fallbacks) == 0 {
		return nil
	}
	first := &pgconn.FallbackConfig{Host: c.Host, Port: c.Port, TLSConfig: c.TLSConfig}
	all := append([]*pgconn.FallbackConfig{first}, c.Fallbacks...)
	s.mu.Lock()
	defer s.mu.Unlock()
	slices.SortStableFunc(all, func(a, b *pgconn.FallbackConfig) int { return s.rankOf(b) - s.rankOf(a) })
	c.Host, c.Port, c.TLSConfig, c.Fallbacks = all[0].Host, all[0].Port, all[0].TLSConfig, all[1:]
	return nil
}

func (s *servers) rankOf(c *pgconn.FallbackConfig) int {
	return s.rank[net.JoinHostPort(c.Host, strconv.Itoa(int(c.Port)))]
}
