// Package bustest gives every test a bus of its own on a server inside the test process.
package bustest

import (
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"slipway.dev/pkg/bus"
	"slipway.dev/pkg/bus/busembed"
)

// New returns a bus on a server of its own; both end with the test.
func New(t testing.TB) *bus.Bus {
	t.Helper()
	return NewServer(t).Connect(t)
}

// Publish publishes an event as its service does, until the bus takes it: a bus on a busy disk may need longer than one call
// waits.
func Publish(t testing.TB, b *bus.Bus, e bus.Event) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(10 * time.Millisecond) { // between two tries
		_, err := b.Publish(t.Context(), e)
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

// Server is a server that a test can stop and start again.
type Server struct {
	dir string

	mu sync.Mutex
	s  *busembed.Server
}

// NewServer starts a server.
func NewServer(t testing.TB) *Server {
	t.Helper()
	s := &Server{dir: filepath.Join(t.TempDir(), "nats")}
	s.Start(t)
	t.Cleanup(s.Stop)
	return s
}

// Connect returns a bus on this server. It finds the server again after a Stop and a Start.
func (s *Server) Connect(t testing.TB) *bus.Bus {
	t.Helper()
	b, err := bus.Connect(t.Context(), "", bus.WithNATS(nats.InProcessServer(s)), bus.WithLog(slog.New(slog.DiscardHandler)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

// Start starts the server again.
func (s *Server) Start(t testing.TB) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	var err error
	if s.s, err = busembed.Start(busembed.Config{Dir: s.dir}); err != nil {
		t.Fatal(err)
	}
}

// Stop stops the server, which keeps its streams.
func (s *Server) Stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.s != nil {
		s.s.Stop()
		s.s = nil
	}
}

// Wipe deletes the streams. The server must be stopped.
func (s *Server) Wipe(t testing.TB) {
	t.Helper()
	if err := os.RemoveAll(s.dir); err != nil {
		t.Fatal(err)
	}
}

// Save copies the streams, as a backup or a snapshot of the disk does. The server must be stopped.
func (s *Server) Save(t testing.TB) (saved string) {
	t.Helper()
	saved = filepath.Join(t.TempDir(), "saved")
	if err := os.CopyFS(saved, os.DirFS(s.dir)); err != nil {
		t.Fatal(err)
	}
	return saved
}

// Restore puts the streams back as they were when they were saved. The server must be stopped.
func (s *Server) Restore(t testing.TB, saved string) {
	t.Helper()
	s.Wipe(t)
	if err := os.CopyFS(s.dir, os.DirFS(saved)); err != nil {
		t.Fatal(err)
	}
}

// JetStream returns a client of the server for what no service does: deleting and purging.
func (s *Server) JetStream(t testing.TB) jetstream.JetStream {
	t.Helper()
	nc, err := nats.Connect("", nats.InProcessServer(s))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

// InProcessConn connects to the server that runs now.
func (s *Server) InProcessConn() (net.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.s == nil {
		return nil, errors.New("the server is stopped")
	}
	return s.s.InProcessConn()
}
