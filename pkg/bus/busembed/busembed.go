// Package busembed runs a NATS server inside this process. It is separate from pkg/bus, so that programs that are only clients
// do not link the server.
package busembed

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"slipway.dev/pkg/bus"
)

// Config says where the server keeps its streams.
type Config struct {
	Dir string
	Log *slog.Logger
}

// Server is a NATS server inside this process. It listens on nothing. A stream that could not be written, because the disk was
// full, refuses all further events; the server is opened anew when there is room again, and the bus connects to the new one.
type Server struct {
	cfg  Config
	stop context.CancelFunc
	done chan struct{}

	mu     sync.Mutex
	ns     *server.Server // nil while it cannot be opened
	broken error          // why events cannot be stored, or nil
}

// Start starts a server that acknowledges a message once it is on disk. By default JetStream acknowledges first and flushes
// every two minutes.
func Start(cfg Config) (*Server, error) {
	s := &Server{cfg: cfg, done: make(chan struct{})}
	var err error
	if s.ns, err = open(cfg); err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	go func() {
		defer close(s.done)
		s.watch(ctx)
	}()
	return s, nil
}

func open(cfg Config) (*server.Server, error) {
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("bus directory: %w", err)
	}
	ns, err := server.NewServer(&server.Options{
		ServerName: "slipway",
		DontListen: true,
		JetStream:  true,
		StoreDir:   cfg.Dir,
		SyncAlways: true,
		NoSigs:     true,
		// By default the server promises its streams no more than most of what is free when it starts, which is little after the
		// disk was full: then a stream with a bound could not be opened. A full disk is what watch looks for.
		JetStreamMaxStore: 1 << 50,
	})
	if err != nil {
		return nil, fmt.Errorf("embedded bus: %w", err)
	}
	if cfg.Log != nil {
		ns.SetLoggerV2(logger{cfg.Log}, false, false, false)
	}
	ns.Start()
	if !ns.ReadyForConnections(20 * time.Second) {
		shut(ns)
		return nil, errors.New("embedded bus: not ready after 20 s")
	}
	return ns, nil
}

// Connect returns a Bus on this server.
func (s *Server) Connect(ctx context.Context, opts ...bus.Option) (*bus.Bus, error) {
	return bus.Connect(ctx, "", append(opts, bus.WithNATS(nats.InProcessServer(s)))...)
}

// InProcessConn returns a connection without a socket.
func (s *Server) InProcessConn() (net.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ns == nil {
		return nil, s.broken
	}
	pipe, err := s.ns.InProcessConn()
	if err != nil {
		return nil, err
	}
	return buffered(pipe)
}

// Ready returns why events cannot be stored now, or nil.
func (s *Server) Ready() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.broken
}

// Stop stops the server and waits for its end.
func (s *Server) Stop() {
	s.stop()
	<-s.done
	if s.ns != nil {
		shut(s.ns)
	}
}

func shut(ns *server.Server) {
	ns.Shutdown()
	ns.WaitForShutdown()
}
