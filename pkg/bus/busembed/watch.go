package busembed

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"golang.org/x/sys/unix"
)

const (
	watching  = time.Second // between two looks at the server's health
	mostWait  = time.Minute // between two attempts to open it
	leastRoom = 16 << 20    // bytes that have to be free before it is opened
)

// watch looks at the server's health until ctx ends, and opens the server anew when it cannot store events although there is room.
func (s *Server) watch(ctx context.Context) {
	wait, next := watching, time.Time{}
	for sleep(ctx, watching) {
		err := s.look()
		if err == nil {
			wait = watching
			continue
		}
		if time.Now().Before(next) || room(s.cfg.Dir) != nil {
			continue
		}
		s.reopen()
		wait = min(2*wait, mostWait)
		next = time.Now().Add(wait)
	}
}

// look asks the server how it is, and keeps the answer for Ready.
func (s *Server) look() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ns == nil {
		return s.broken
	}
	err := health(s.ns)
	if err != nil && s.broken == nil && s.cfg.Log != nil {
		s.cfg.Log.Error("the event bus cannot store events", "err", err)
	}
	s.broken = err
	return err
}

// reopen replaces the server. What it acknowledged is on disk, and the outboxes send the rest again.
func (s *Server) reopen() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ns != nil {
		shut(s.ns)
	}
	var err error
	if s.ns, err = open(s.cfg); err == nil {
		err = health(s.ns)
	}
	s.broken = err
	if s.cfg.Log != nil {
		s.cfg.Log.Warn("the event bus was opened anew", "err", err)
	}
}

// health returns why JetStream cannot work: it is switched off, a stream could not be read at the start or not be written.
func health(ns *server.Server) error {
	w := &answer{header: http.Header{}}
	ns.HandleHealthz(w, &http.Request{Method: http.MethodGet, URL: &url.URL{Path: server.HealthzPath}})
	var h struct {
		Status string `json:"status"`
		Error  string `json:"error"`
	}
	if err := json.Unmarshal(w.body, &h); err != nil {
		return fmt.Errorf("health of the event bus: %w", err)
	}
	if h.Status != "ok" {
		return errors.New("the event bus: " + h.Error)
	}
	return nil
}

// answer keeps what the server answers.
type answer struct {
	header http.Header
	body   []byte
}

func (a *answer) Header() http.Header { return a.header }

func (a *answer) WriteHeader(int) {}

func (a *answer) Write(b []byte) (int, error) {
	a.body = append(a.body, b...)
	return len(b), nil
}

// room returns an error unless there is room in dir, for this process: it may have a quota.
func room(dir string) error {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return err
	}
	if free := fs.Bavail * uint64(fs.Bsize); free < leastRoom { // #nosec G115 -- not below zero
		return unix.ENOSPC
	}
	path := filepath.Join(dir, "room")
	defer os.Remove(path)
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.Write(make([]byte, 1<<20)); err != nil {
		return err
	}
	return f.Sync()
}

func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
