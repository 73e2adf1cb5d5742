//go:build e2e

package ha

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	etcdPort    = "22379"
	patroniPort = "28008"
	patroniDB   = "25432"
)

// member is a PostgreSQL server that Patroni runs.
type member struct {
	server
	name, host string
	agent      *exec.Cmd // Patroni
	log        *os.File  // no pipe, which the server would keep open
}

// newMember makes a member of a cluster that has its state in etcd at a host. It has a loopback address of its own.
func newMember(t *testing.T, dir, name, host, etcd string) *member {
	t.Helper()
	m := &member{name: name, host: host, server: server{t: t, dir: filepath.Join(dir, name), sock: filepath.Join(dir, name+"-socket"), port: patroniDB}}
	makeDir(t, m.sock)
	var err error
	m.log, err = os.Create(m.sock + ".log")
	must(t, err)
	t.Cleanup(func() { _ = m.log.Close() })
	text := fmt.Sprintf(`
scope: slipway
name: %[1]s
restapi: {listen: "%[2]s:%[3]s", connect_address: "%[2]s:%[3]s"}
etcd3: {hosts: ["%[4]s:%[5]s"]}
bootstrap:
  dcs:
    ttl: 20
    loop_wait: 2
    retry_timeout: 3
    synchronous_mode: true
    postgresql:
      use_pg_rewind: true
      parameters: {max_connections: 200, wal_level: replica, hot_standby: "on", shared_buffers: 32MB, wal_log_hints: "on", fsync: "off"}
  initdb: [{encoding: UTF8}, {locale: C}]
  pg_hba: ["local all all trust", "host all all 127.0.0.0/8 trust", "host replication all 127.0.0.0/8 trust"]
postgresql:
  listen: "%[2]s:%[6]s"
  connect_address: "%[2]s:%[6]s"
  data_dir: %[7]s
  bin_dir: %[8]s
  pgpass: %[9]s/pgpass
  basebackup: [{checkpoint: fast}]
  authentication: {superuser: {username: slipway, password: x}, replication: {username: replicator, password: x}, rewind: {username: rewinder, password: x}}
  parameters: {unix_socket_directories: "%[9]s"}
`, name, host, patroniPort, etcd, etcdPort, patroniDB, m.dir, filepath.Dir(command(t, "pg_controldata").Path), m.sock)
	must(t, os.WriteFile(m.config(), []byte(text), 0o644)) // #nosec G306 -- Patroni reads it as another user
	t.Cleanup(m.end)
	return m
}

func (m *member) config() string { return m.sock + ".yml" }

// begin starts Patroni, which starts the server.
func (m *member) begin() {
	m.t.Helper()
	m.agent = command(m.t, "patroni", m.config())
	m.agent.Stdout, m.agent.Stderr = m.log, m.log
	must(m.t, m.agent.Start())
}

// end kills Patroni and its server, as a power cut does.
func (m *member) end() {
	if m.agent == nil {
		return
	}
	_ = m.agent.Process.Kill()
	_ = m.agent.Wait() // it was killed
	m.agent = nil
	text, _ := os.ReadFile(filepath.Join(m.dir, "postmaster.pid"))
	first, _, _ := strings.Cut(string(text), "\n")
	pid, err := strconv.Atoi(first)
	if err != nil {
		return // the server never ran
	}
	_ = syscall.Kill(pid, syscall.SIGKILL)
	for syscall.Kill(pid, 0) == nil {
		time.Sleep(10 * time.Millisecond) // until the process is gone
	}
}

// leads reports whether Patroni says that the server is the primary.
func (m *member) leads() bool {
	resp, err := http.Get("http://" + m.host + ":" + patroniPort + "/primary")
	if err != nil {
		return false
	}
	_ = resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// follows waits until the server has a synchronous standby.
func (m *member) follows() {
	m.t.Helper()
	await(m.t, "a synchronous standby follows "+m.name, func() bool {
		return m.value(`SELECT coalesce(max(sync_state), '') FROM pg_stat_replication WHERE state = 'streaming'`) == "sync"
	})
}

// TestPatroni kills the primary of a cluster that Patroni runs in synchronous mode, with its Patroni. The standby takes over
// once the leader's key has expired, the former primary rejoins as its standby, and no accepted host is lost.
func TestPatroni(t *testing.T) {
	t.Parallel()
	dir := workDir(t)
	etcd := loopback(10)
	peer := fmt.Sprintf("http://%s:%s", etcd, "22380")
	client := fmt.Sprintf("http://%s:%s", etcd, etcdPort)
	dcs := command(t, "etcd", "--data-dir", filepath.Join(dir, "etcd"), "--listen-client-urls", client, "--advertise-client-urls", client,
		"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", "default="+peer, "--unsafe-no-fsync")
	must(t, dcs.Start())
	t.Cleanup(func() {
		_ = dcs.Process.Kill()
		_ = dcs.Wait() // it was killed
	})
	a, b := newMember(t, dir, "a", loopback(11), etcd), newMember(t, dir, "b", loopback(12), etcd)
	t.Cleanup(func() {
		if t.Failed() {
			for _, m := range []*member{a, b} {
				text, _ := os.ReadFile(m.log.Name())
				t.Logf("Patroni of %s:\n%s", m.name, text)
			}
		}
	})
	a.begin()
	await(t, "a leads", a.leads)
	run(t, "createdb", "-h", a.sock, "-p", a.port, "-U", "slipway", database)
	b.begin()
	a.follows()

	s := newStackOn(t, []string{a.host + ":" + a.port, b.host + ":" + b.port})
	l := startLoad(s)
	l.await(15, time.Time{})
	a.end()
	await(t, "b leads", b.leads)
	promoted := time.Now()
	l.recovered(promoted, &b.server)
	l.await(15, time.Now())
	a.begin()
	b.follows()
	l.await(5, time.Now())
	l.check(false)
	s.rest()
	if a.leads() {
		t.Error("the former primary leads again")
	}
}
