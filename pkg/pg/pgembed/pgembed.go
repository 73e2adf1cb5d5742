// Package pgembed runs a private PostgreSQL, which listens on a socket only and ends with this process.
package pgembed

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"slipway.dev/pkg/child"
	"slipway.dev/pkg/durable"
	"slipway.dev/pkg/pg"
)

const (
	database = "slipway"
	role     = "slipway"
)

// Config says where and how the server runs.
type Config struct {
	// Dir holds data, lock and socket, for this server only. If this process is root, Dir is given to the user that PostgreSQL
	// runs as; other users have no access.
	Dir string
	Log *slog.Logger
	// MaxConnections is max_connections of the server; default 100.
	MaxConnections int
	// Fast trades all durability for speed. Only for tests.
	Fast bool
}

// Server is a running PostgreSQL.
type Server struct {
	cfg      Config
	who      child.Account
	bin      string
	data     string
	socket   string
	tempSock bool
	lock     *os.File
	log      *tail

	cmd  *exec.Cmd
	done chan struct{}
	stop sync.Once
}

// Start starts the server and returns once it answers. The first start in Dir makes the data, later ones keep it.
func Start(ctx context.Context, cfg Config) (*Server, error) {
	dir, err := filepath.Abs(cfg.Dir)
	if err != nil {
		return nil, err
	}
	cfg.Dir = dir
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{cfg: cfg, data: filepath.Join(dir, "data"), done: make(chan struct{}), log: &tail{log: cfg.Log}}
	if err := s.start(ctx); err != nil {
		s.kill()
		s.cleanUp()
		return nil, fmt.Errorf("postgresql in %s: %w", dir, err)
	}
	return s, nil
}

func (s *Server) start(ctx context.Context) error {
	if err := s.prepare(); err != nil {
		return err
	}
	if err := stopLeftover(ctx, s.data); err != nil {
		return err
	}
	if err := s.initData(ctx); err != nil {
		return err
	}
	var err error
	if s.socket, s.tempSock, err = socketDir(s.cfg.Dir, s.who); err != nil {
		return fmt.Errorf("socket directory: %w", err)
	}
	if err := s.launch(); err != nil {
		return err
	}
	return s.ready(ctx)
}

// prepare finds PostgreSQL's programs and makes the directory.
func (s *Server) prepare() error {
	major, err := os.ReadFile(filepath.Join(s.data, "PG_VERSION"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if s.bin, err = binaries(strings.TrimSpace(string(major))); err != nil {
		return err
	}
	if s.who, err = child.Pick(s.data, "postgres", "nobody"); err != nil {
		return err
	}
	if err := os.MkdirAll(s.cfg.Dir, 0o700); err != nil {
		return err
	}
	if s.lock, err = lock(s.cfg.Dir); err != nil {
		return err
	}
	if err := s.who.Own(s.cfg.Dir); err != nil {
		return err
	}
	return s.who.CheckReach(filepath.Join(s.bin, "postgres"), s.cfg.Dir)
}

// initData makes the data in another directory and renames that, so that a crash leaves no half-made database in place.
func (s *Server) initData(ctx context.Context) error {
	if _, err := os.Stat(filepath.Join(s.data, "PG_VERSION")); err == nil {
		return nil
	}
	partial := s.data + ".partial"
	if err := os.RemoveAll(partial); err != nil {
		return err
	}
	args := []string{
		"--pgdata", partial, "--username", role, "--auth", "trust", "--encoding", "UTF8", "--locale", "C.UTF-8",
		"--data-checksums", "--no-instructions",
	}
	if s.cfg.Fast {
		args = append(args, "--no-sync")
	}
	cmd := s.command(ctx, "initdb", args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C", "TZ=UTC")
	if out, err := child.Output(cmd); err != nil {
		return fmt.Errorf("initdb: %w: %s", err, strings.TrimSpace(string(out)))
	}
	return durable.Rename(partial, s.data)
}

// command returns a command that runs a program of PostgreSQL as its user. The program is killed when this process ends, which
// is harmless for initdb.
func (s *Server) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(s.bin, name), args...)
	cmd.Dir = s.cfg.Dir
	cmd.SysProcAttr = s.who.Attr(syscall.SIGKILL)
	return cmd
}

// launch starts the server, and a goroutine that waits for the server's end.
func (s *Server) launch() error {
	cmd := exec.Command(filepath.Join(s.bin, "postgres"), s.flags()...)
	cmd.Dir = s.cfg.Dir
	cmd.Env = append(os.Environ(), "LC_ALL=C", "TZ=UTC")
	cmd.Stdout, cmd.Stderr = s.log, s.log
	cmd.SysProcAttr = s.who.Attr(s.endSignal())
	started := make(chan error)
	go child.OnThread(func() {
		err := cmd.Start()
		if err == nil {
			s.cmd = cmd
		}
		started <- err
		if err == nil {
			if err := cmd.Wait(); err != nil {
				s.cfg.Log.Warn("postgresql ended", "err", err)
			}
			close(s.done)
		}
	})
	return <-started
}

// endSignal returns the signal for the server when this process is killed: one for a fast shutdown, or SIGKILL if the data is
// temporary.
func (s *Server) endSignal() syscall.Signal {
	if s.cfg.Fast {
		return syscall.SIGQUIT
	}
	return syscall.SIGINT
}

func (s *Server) flags() []string {
	set := []string{
		"listen_addresses=", "port=5432", "unix_socket_directories=" + s.socket, "unix_socket_permissions=0700",
		fmt.Sprintf("max_connections=%d", cmp.Or(s.cfg.MaxConnections, 100)), "shared_buffers=64MB", "synchronous_commit=on", "jit=off",
		"log_destination=stderr", "logging_collector=off", "log_line_prefix=", "log_checkpoints=off",
		"log_min_messages=log", // clients get the errors of their statements, whose details may be private
		"log_min_error_statement=panic",
	}
	if s.cfg.Fast {
		set = append(set, "max_connections=1000", "fsync=off", "synchronous_commit=off", "full_page_writes=off",
			"wal_level=minimal", "max_wal_senders=0", "autovacuum_naptime=10min",
			"client_connection_check_interval=1s") // a statement ends with the program that was killed
	}
	args := []string{"-D", s.data}
	for _, kv := range set {
		args = append(args, "-c", kv)
	}
	return args
}

// URL returns the URL of the database.
func (s *Server) URL() string { return s.url(database) }

func (s *Server) url(db string) string {
	q := url.Values{"host": {s.socket}, "port": {"5432"}, "sslmode": {"disable"}}
	return (&url.URL{Scheme: "postgres", User: url.User(role), Path: "/" + db, RawQuery: q.Encode()}).String()
}

// Done returns a channel that is closed when the server has ended, for any reason.
func (s *Server) Done() <-chan struct{} { return s.done }

// ready waits until the server answers, and makes the database if it is missing.
func (s *Server) ready(ctx context.Context) error {
	ctx, stop := context.WithTimeout(ctx, 5*time.Minute) // it may have a crash to recover from
	defer stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		err := s.ensureDatabase(ctx)
		if err == nil {
			s.log.up.Store(true)
			return nil
		}
		select {
		case <-s.done:
			return fmt.Errorf("the server ended: %s", s.log.last())
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-tick.C:
		}
	}
}

func (s *Server) ensureDatabase(ctx context.Context) error {
	c, err := pgx.Connect(ctx, s.URL())
	if err == nil {
		return c.Close(ctx)
	}
	if pg.Code(err) != "3D000" { // no such database
		return err
	}
	if c, err = pgx.Connect(ctx, s.url("postgres")); err != nil {
		return err
	}
	_, err = c.Exec(ctx, `CREATE DATABASE `+database)
	return errors.Join(err, c.Close(ctx))
}

// Stop shuts the server down fast: open transactions are rolled back and all data is written. If ctx ends first the server is
// stopped immediately, and recovers at the next start. Stop may be called several times.
func (s *Server) Stop(ctx context.Context) error {
	s.log.up.Store(false)
	s.signal(syscall.SIGINT)
	var err error
	select {
	case <-s.done:
	case <-ctx.Done():
		err = fmt.Errorf("stop postgresql: %w", ctx.Err())
		s.kill()
	}
	s.stop.Do(s.cleanUp)
	return err
}

// kill stops the server immediately; the data stays recoverable.
func (s *Server) kill() {
	if s.cmd == nil {
		return
	}
	s.signal(syscall.SIGQUIT)
	select {
	case <-s.done:
	case <-time.After(10 * time.Second):
		s.signal(syscall.SIGKILL)
		<-s.done
	}
}

func (s *Server) signal(sig syscall.Signal) {
	select {
	case <-s.done:
	default:
		_ = s.cmd.Process.Signal(sig) // it ended just now
	}
}

func (s *Server) cleanUp() {
	if s.tempSock {
		os.RemoveAll(s.socket)
	}
	if s.lock != nil {
		s.lock.Close()
	}
}
