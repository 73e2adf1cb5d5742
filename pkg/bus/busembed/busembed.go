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

// Server is a NATS server inside this process. It listens on nothing.
type Server struct{ ns *server.Server }

// Start starts a server that acknowledges a message once it is on disk. By default JetStream acknowledges first and flushes
// every two minutes.
func Start(cfg Config) (*Server, error) {
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
	})
	if err != nil {
		return nil, fmt.Errorf("embedded bus: %w", err)
	}
	if cfg.Log != nil {
		ns.SetLoggerV2(logger{cfg.Log}, false, false, false)
	}
	ns.Start()
	if !ns.ReadyForConnections(20 * time.Second) {
		ns.Shutdown()
		return nil, errors.New("embedded bus: not ready after 20 s")
	}
	return &Server{ns}, nil
}

// Connect returns a Bus on this server.
func (s *Server) Connect(ctx context.Context, opts ...bus.Option) (*bus.Bus, error) {
	return bus.Connect(ctx, "", append(opts, bus.WithNATS(nats.InProcessServer(s)))...)
}

// InProcessConn returns a connection without a socket.
func (s *Server) InProcessConn() (net.Conn, error) { return s.ns.InProcessConn() }

// Stop stops the server and waits for its end.
func (s *Server) Stop() {
	s.ns.Shutdown()
	s.ns.WaitForShutdown()
}

// logger passes the server's log on. Notices are the server's banner, so they have the level debug.
type logger struct{ log *slog.Logger }

func (l logger) Noticef(f string, v ...any) { l.log.Debug("nats: " + fmt.Sprintf(f, v...)) }
func (l logger) Warnf(f string, v ...any)   { l.log.Warn("nats: " + fmt.Sprintf(f, v...)) }
func (l logger) Fatalf(f string, v ...any)  { l.log.Error("nats: " + fmt.Sprintf(f, v...)) }
func (l logger) Errorf(f string, v ...any)  { l.log.Error("nats: " + fmt.Sprintf(f, v...)) }
func (l logger) Debugf(f string, v ...any)  { l.log.Debug("nats: " + fmt.Sprintf(f, v...)) }
func (l logger) Tracef(f string, v ...any)  { l.log.Debug("nats: " + fmt.Sprintf(f, v...)) }
