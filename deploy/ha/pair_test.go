//go:build e2e

package ha

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"slipway.dev/pkg/faulty"
	"slipway.dev/pkg/pg"
)

// patience bounds what takes seconds on an idle machine.
const patience = 2 * time.Minute

// server is a PostgreSQL server of a pair. Clients reach it through one proxy, its standby through another.
type server struct {
	t       *testing.T
	dir     string // of the data
	sock    string // directory of the socket
	port    string
	args    []string
	cmd     *exec.Cmd
	ended   chan struct{}
	clients *faulty.Proxy
	standby *faulty.Proxy
}

// owner is the user that PostgreSQL runs as: postgres where the tests run as root, which PostgreSQL refuses.
var owner = sync.OnceValues(func() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return nil, err
	}
	uid, uidErr := strconv.ParseUint(u.Uid, 10, 32)
	gid, gidErr := strconv.ParseUint(u.Gid, 10, 32)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, errors.Join(uidErr, gidErr)
})

// command is a program of PostgreSQL, run as its user.
func command(t *testing.T, name string, args ...string) *exec.Cmd {
	t.Helper()
	who, err := owner()
	must(t, err)
	path, err := exec.LookPath(name)
	if err != nil {
		all, _ := filepath.Glob("/usr/lib/postgresql/*/bin/" + name) // the pattern is good
		if len(all) == 0 {
			t.Fatalf("%s of PostgreSQL is not there: run make packages", name)
		}
		path = slices.Max(all)
	}
	cmd := exec.Command(path, args...)
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), "LC_ALL=C", "TZ=UTC")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: who, Setpgid: true}
	return cmd
}

func run(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := command(t, name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// workDir returns a directory that PostgreSQL's user may enter and write.
func workDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "slipway-ha-")
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	must(t, os.Chmod(dir, 0o755))
	db := filepath.Join(dir, "pg")
	makeDir(t, db)
	return db
}

// makeDir makes a directory of PostgreSQL's user.
func makeDir(t *testing.T, dir string) {
	t.Helper()
	must(t, os.Mkdir(dir, 0o700))
	who, err := owner()
	must(t, err)
	if who != nil {
		must(t, os.Chown(dir, int(who.Uid), int(who.Gid)))
	}
}

const database = "slipway"

// newPrimary makes a server with an empty database.
func newPrimary(t *testing.T, dir string) *server {
	t.Helper()
	s := newServer(t, filepath.Join(dir, "a"))
	run(t, "initdb", "-D", s.dir, "-U", "slipway", "--auth=trust", "-E", "UTF8", "--locale=C", "--no-sync")
	s.start()
	conn, err := pg.Connect(t.Context(), s.url("postgres"))
	must(t, err)
	defer conn.Close(context.WithoutCancel(t.Context()))
	for _, sql := range []string{"CREATE DATABASE " + database, "SELECT pg_create_physical_replication_slot('standby')"} {
		_, err := conn.Exec(t.Context(), sql)
		must(t, err)
	}
	return s
}

func newServer(t *testing.T, dir string) *server {
	t.Helper()
	s := &server{t: t, dir: dir, sock: dir + "-socket", port: "5432"}
	makeDir(t, s.sock)
	var err error
	s.clients, err = faulty.NewProxy("unix", filepath.Join(s.sock, ".s.PGSQL.5432"))
	must(t, err)
	s.standby, err = faulty.NewProxy("unix", filepath.Join(s.sock, ".s.PGSQL.5432"))
	must(t, err)
	t.Cleanup(func() {
		s.kill()
		s.clients.Close()
		s.standby.Close()
	})
	return s
}

// newStandby makes a standby of a primary, which clients do not reach yet.
func newStandby(t *testing.T, primary *server, synchronous bool) *server {
	t.Helper()
	s := newServer(t, filepath.Join(filepath.Dir(primary.dir), "b"))
	run(t, "pg_basebackup", "-h", primary.sock, "-U", "slipway", "-D", s.dir, "-X", "stream", "--no-sync", "-c", "fast")
	host, port, _ := strings.Cut(primary.standby.Addr(), ":")
	s.args = []string{
		"-c", "primary_slot_name=standby",
		"-c", fmt.Sprintf("primary_conninfo=host=%s port=%s user=slipway application_name=standby", host, port),
	}
	signal := filepath.Join(s.dir, "standby.signal")
	must(t, os.WriteFile(signal, nil, 0o600))
	if who, _ := owner(); who != nil {
		must(t, os.Chown(signal, int(who.Uid), int(who.Gid)))
	}
	s.start()
	if synchronous {
		primary.exec(`ALTER SYSTEM SET synchronous_standby_names = 'standby'`)
		primary.exec(`SELECT pg_reload_conf()`)
	}
	want := map[bool]string{true: "sync", false: "async"}[synchronous]
	await(t, "the standby follows, "+want, func() bool {
		return primary.value(`SELECT coalesce(max(sync_state), '') FROM pg_stat_replication WHERE state = 'streaming'`) == want
	})
	return s
}

// start starts the server and waits until it answers.
func (s *server) start() {
	s.t.Helper()
	args := append([]string{
		"-D", s.dir, "-c", "listen_addresses=", "-c", "port=5432", "-c", "unix_socket_directories=" + s.sock, "-c", "max_connections=200",
		"-c", "shared_buffers=32MB", "-c", "fsync=off", "-c", "wal_level=replica", "-c", "hot_standby=on", "-c", "wal_sender_timeout=5s",
		"-c", "wal_receiver_timeout=5s", "-c", "wal_retrieve_retry_interval=200ms", "-c", "autovacuum_naptime=10min",
	}, s.args...)
	s.cmd = command(s.t, "postgres", args...)
	log := &bytes.Buffer{}
	s.cmd.Stdout, s.cmd.Stderr = log, log
	must(s.t, s.cmd.Start())
	s.ended = make(chan struct{})
	go func() {
		_ = s.cmd.Wait()
		close(s.ended)
	}()
	for deadline := time.Now().Add(patience); ; {
		err := command(s.t, "pg_isready", "-h", s.sock, "-q").Run()
		if err == nil {
			return
		}
		select {
		case <-s.ended:
			s.t.Fatalf("postgres ended: %s", log)
		case <-time.After(50 * time.Millisecond): // between two questions
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("postgres does not answer: %s", log)
		}
	}
}

// kill ends the server with all its processes, as a power cut does.
func (s *server) kill() {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Kill() // its children end when they notice
	<-s.ended
	s.cmd = nil
}

// promote makes a standby the primary and returns once the server takes writes.
func (s *server) promote() {
	s.t.Helper()
	s.exec(`SELECT pg_promote(false)`)
	await(s.t, "the standby takes writes", func() bool { return s.value(`SELECT pg_is_in_recovery()::text`) == "false" })
}

func (s *server) url(db string) string {
	return fmt.Sprintf("postgres://slipway@/%s?host=%s&port=%s&sslmode=disable", db, s.sock, s.port)
}

// value returns one value of the database, past the proxies; "" while there is none.
func (s *server) value(sql string) string {
	s.t.Helper()
	out, err := command(s.t, "psql", "-h", s.sock, "-p", s.port, "-U", "slipway", "-Atqc", sql, database).Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
}

func (s *server) exec(sql string) {
	s.t.Helper()
	if out, err := command(s.t, "psql", "-h", s.sock, "-p", s.port, "-U", "slipway", "-qc", sql, database).CombinedOutput(); err != nil {
		s.t.Fatalf("%s: %v\n%s", sql, err, out)
	}
}

// await waits until what is true.
func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}
