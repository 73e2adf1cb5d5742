// Package promembed runs a private Prometheus that scrapes this process, answers on the loopback interface to those who know its
// password, and ends with this process.
package promembed

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/crypto/bcrypt"

	"slipway.dev/pkg/child"
	"slipway.dev/pkg/durable"
)

// ErrNotInstalled is the error of a machine without Prometheus.
var ErrNotInstalled = errors.New("there is no prometheus in PATH; install it (Debian: apt-get install prometheus)")

// Config says where and how the server runs.
type Config struct {
	// Dir holds data and configuration, for this server only.
	Dir string
	// Target is the host and port on which /metrics is served, to those who have Token as a bearer token.
	Target, Token string
	Log           *slog.Logger
}

const (
	user   = "slipway"
	scrape = 15 * time.Second
	// keep lets a month be summed up, and maxSize bounds the disk that it takes.
	keep    = "40d"
	maxSize = "4GB"
	// pause is the time between two starts of a server that ended.
	pause = 5 * time.Second
	// stopTime is how long the server may take to write what it holds in memory.
	stopTime = 10 * time.Second
)

// Server is a Prometheus.
type Server struct {
	cfg      Config
	who      child.Account
	program  string
	port     int
	password string
	every    time.Duration // between two scrapes
}

// New prepares a server; Run starts it.
func New(cfg Config) (*Server, error) {
	dir, err := filepath.Abs(cfg.Dir)
	if err != nil {
		return nil, err
	}
	cfg.Dir = dir
	s := &Server{cfg: cfg, password: rand.Text(), every: scrape}
	if s.program, err = find(); err != nil {
		return nil, err
	}
	if s.who, err = child.Pick(filepath.Join(dir, "data"), "prometheus", "nobody"); err != nil {
		return nil, err
	}
	if err := s.prepare(); err != nil {
		return nil, fmt.Errorf("prometheus in %s: %w", dir, err)
	}
	return s, nil
}

func find() (string, error) {
	program, err := exec.LookPath("prometheus")
	if err != nil {
		return "", ErrNotInstalled
	}
	return program, nil
}

// prepare makes the directory, and chooses a port that is free.
func (s *Server) prepare() error {
	for _, dir := range []string{s.cfg.Dir, filepath.Join(s.cfg.Dir, "data")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
		if err := s.who.Own(dir); err != nil {
			return err
		}
	}
	if err := s.who.CheckReach(s.program, s.cfg.Dir); err != nil {
		return err
	}
	hash, err := bcrypt.GenerateFromPassword([]byte(s.password), bcrypt.MinCost) // of 130 random bits
	if err != nil {
		return err
	}
	for name, text := range map[string]string{
		"web.yml": fmt.Sprintf("basic_auth_users:\n  %s: %s\n", user, hash),
		"prometheus.yml": fmt.Sprintf("global:\n  scrape_interval: %v\nscrape_configs:\n  - job_name: slipway\n    authorization: { credentials: %q }\n"+
			"    static_configs: [{ targets: [%q] }]\n", s.every, s.cfg.Token, s.cfg.Target),
	} {
		path := filepath.Join(s.cfg.Dir, name)
		if err := durable.Replace(path, []byte(text), 0o600); err != nil {
			return err
		}
		if err := s.who.Give(path); err != nil {
			return err
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer l.Close()
	s.port = l.Addr().(*net.TCPAddr).Port
	return nil
}

// URL returns where the server answers, with name and password.
func (s *Server) URL() string {
	return (&url.URL{Scheme: "http", User: url.UserPassword(user, s.password), Host: fmt.Sprintf("127.0.0.1:%d", s.port)}).String()
}

// Run keeps the server running until ctx ends. A server that ends is started again: metrics are not worth more than the rest of
// the process.
func (s *Server) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		if err := s.run(ctx); ctx.Err() == nil {
			s.cfg.Log.Warn("prometheus ended and is started again", "err", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
	return nil
}

// run runs one server to its end.
func (s *Server) run(ctx context.Context) (err error) {
	cmd := exec.CommandContext(ctx, s.program,
		"--config.file="+filepath.Join(s.cfg.Dir, "prometheus.yml"), "--web.config.file="+filepath.Join(s.cfg.Dir, "web.yml"),
		"--storage.tsdb.path="+filepath.Join(s.cfg.Dir, "data"), "--storage.tsdb.retention.time="+keep, "--storage.tsdb.retention.size="+maxSize,
		fmt.Sprintf("--web.listen-address=127.0.0.1:%d", s.port), "--log.level=warn")
	cmd.Dir = s.cfg.Dir
	var said tail
	cmd.Stdout, cmd.Stderr = io.Discard, &said
	cmd.SysProcAttr = s.who.Attr(syscall.SIGTERM)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = stopTime
	child.OnThread(func() { err = cmd.Run() })
	if err == nil {
		err = errors.New("it ended without an error")
	}
	return fmt.Errorf("%w: %s", err, said.text())
}

// tail keeps the end of what a program writes.
type tail struct{ end []byte }

const tailSize = 500

func (t *tail) Write(p []byte) (int, error) {
	t.end = append(t.end, p...)
	t.end = t.end[max(0, len(t.end)-tailSize):]
	return len(p), nil
}

func (t *tail) text() string { return strings.TrimSpace(string(t.end)) }
