package bus

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
)

// Config says where an embedded server keeps its streams.
type Config struct {
	Dir string
	Log *slog.Logger
}

// Server is a NATS server inside this process. It listens on nothing.
type Server struct{ ns *server.Server }

// StartEmbedded starts a server whose every acknowledgement means "on disk": JetStream itself would acknowledge first
// and flush every two minutes.
func StartEmbedded(cfg Config) (*Server, error) {
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
func (s *Server) Connect(ctx context.Context, opts ...Option) (*Bus, error) {
	return Connect(ctx, "", append(opts, WithNATS(nats.InProcessServer(s)))...)
}

// InProcessConn makes a connection without a socket.
func (s *Server) InProcessConn() (net.Conn, error) { return s.ns.InProcessConn() }

// Stop ends the server and waits for it.
func (s *Server) Stop() {
	s.ns.Shutdown()
	s.ns.WaitForShutdown()
}

// logger passes the server's log on. Its notices are a banner and are of interest to nobody but a debugger.
type logger struct{ log *slog.Logger }

func (l logger) Noticef(f string, v ...any) { l.log.Debug("nats: " + fmt.Sprintf(f, v...)) }
func (l logger) Warnf(f string, v ...any)   { l.log.Warn("nats: " + fmt.Sprintf(f, v...)) }
func (l logger) Fatalf(f string, v ...any)  { l.log.Error("nats: " + fmt.Sprintf(f, v...)) }
func (l logger) Errorf(f string, v ...any)  { l.log.Error("nats: " + fmt.Sprintf(f, v...)) }
func (l logger) Debugf(f string, v ...any)  { l.log.Debug("nats: " + fmt.Sprintf(f, v...)) }
func (l logger) Tracef(f string, v ...any)  { l.log.Debug("nats: " + fmt.Sprintf(f, v...)) }

// SyncsAlways reports whether an acknowledgement waits for the disk.
func (s *Server) SyncsAlways() bool {
	cfg := s.ns.JetStreamConfig()
	return cfg != nil && cfg.SyncAlways
}
