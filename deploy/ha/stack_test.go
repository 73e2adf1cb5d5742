//go:build e2e

package ha

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/uuid"

	"slipway.dev/deploy/check"
	"slipway.dev/deploy/fsck"
)

const (
	email    = "admin@example.com"
	password = "demo-password"
)

// stack is a slipway up with simulated machines, on servers that the test breaks.
type stack struct {
	t    *testing.T
	data string
	env  []string
	url  string
	log  *os.File
	cmd  *exec.Cmd
	done chan struct{}
}

// newStack starts a stack on the servers, in the order in which the URL has them.
func newStack(t *testing.T, servers ...*server) *stack {
	t.Helper()
	var hosts []string
	for _, s := range servers {
		hosts = append(hosts, s.clients.Addr())
	}
	return newStackOn(t, hosts)
}

// newStackOn starts a stack on PostgreSQL at these addresses, with more settings.
func newStackOn(t *testing.T, hosts []string, env ...string) *stack {
	t.Helper()
	dir := t.TempDir()
	s := &stack{t: t, data: filepath.Join(dir, "data"), env: append([]string{
		"SLIPWAY_ADMIN_EMAIL=" + email, "SLIPWAY_ADMIN_PASSWORD=" + password,
		"SLIPWAY_POSTGRES_URL=postgres://slipway@" + strings.Join(hosts, ",") + "/" + database + "?sslmode=disable",
	}, env...)}
	var err error
	s.log, err = os.Create(filepath.Join(dir, "log"))
	must(t, err)
	t.Cleanup(func() {
		s.stop()
		if t.Failed() {
			s.showLog()
		}
		_ = s.log.Close()
	})
	s.start()
	return s
}

// program is what make build made.
func program(t *testing.T) string {
	t.Helper()
	path := os.Getenv("SLIPWAY_BIN")
	if path == "" {
		path = "../../bin/slipway"
	}
	abs, err := filepath.Abs(path)
	must(t, err)
	if _, err := os.Stat(abs); err != nil {
		t.Fatalf("%v: run make build first", err)
	}
	return abs
}

// templates returns a directory with a stand-in for an OS image.
func templates(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	image := filepath.Join(dir, "tiny.qcow2")
	if out, err := exec.Command("qemu-img", "create", "-q", "-f", "qcow2", image, "1M").CombinedOutput(); err != nil {
		t.Fatalf("qemu-img: %v %s", err, out)
	}
	text, err := os.ReadFile(image)
	must(t, err)
	about := fmt.Sprintf(`{"name":"tiny","file":"tiny.qcow2","sha256":"%x","min_ram_mib":16,"min_disk_mib":1,"os_type":"linux"}`, sha256.Sum256(text))
	must(t, os.WriteFile(filepath.Join(dir, "tiny.json"), []byte(about), 0o600))
	return dir
}

func (s *stack) start() {
	s.t.Helper()
	s.cmd = exec.Command(program(s.t), "up", "--data", s.data, "--listen", "127.0.0.1:0", "--hypervisor", "sim", "--templates", templates(s.t),
		"--metrics-server", "off")
	s.cmd.Env = append(os.Environ(), s.env...)
	s.cmd.Stderr = s.log
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := s.cmd.StdoutPipe()
	must(s.t, err)
	must(s.t, s.cmd.Start())
	ready, done := make(chan string, 1), make(chan struct{})
	s.done = done
	go func() {
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if url, ok := strings.CutPrefix(lines.Text(), "ready "); ok {
				ready <- url
			}
		}
		_ = s.cmd.Wait()
		close(done)
	}()
	select {
	case s.url = <-ready:
	case <-done:
		s.t.Fatal("slipway ended before it was ready")
	case <-after(s.t):
		s.t.Fatal("slipway is not ready")
	}
}

func (s *stack) stop() {
	_ = s.cmd.Process.Signal(syscall.SIGINT) // it may have ended
	select {
	case <-s.done:
	case <-after(s.t):
		_ = s.cmd.Process.Kill()
		<-s.done
	}
}

func (s *stack) showLog() {
	text, _ := os.ReadFile(s.log.Name())
	for line := range strings.Lines(string(text)) {
		if strings.Contains(line, "ERROR") || strings.Contains(line, "WARN") {
			s.t.Log(strings.TrimSpace(line))
		}
	}
}

// missing runs slipway check and returns what it misses in an area, and what it found in order.
func (s *stack) missing(area string, args ...string) (missing, facts []string) {
	s.t.Helper()
	cmd := exec.Command(program(s.t), append([]string{"check", "--json", "--url", s.url}, args...)...)
	cmd.Env = append(os.Environ(), s.env...)
	out, err := cmd.Output()
	var r check.Report
	if json.Unmarshal(out, &r) != nil {
		s.t.Fatalf("slipway check: %v: %s", err, out)
	}
	for _, m := range r.Missing {
		if m.Area == area {
			missing = append(missing, m.What)
		}
	}
	return missing, r.Facts
}

// machine is a machine as the simulated hypervisor keeps it.
type machine struct {
	UUID uuid.UUID `json:"uuid"`
	Seed *struct {
		Hostname string
		Links    []struct{ Addresses []string }
	} `json:"seed"`
	Def *struct{} `json:"def"`
}

// machines returns the machines on the node, and the host names of those that were removed.
func (s *stack) machines() (all map[uuid.UUID]machine, removed []string) {
	s.t.Helper()
	text, err := os.ReadFile(filepath.Join(s.data, "node", "sim", "machines.log"))
	must(s.t, err)
	all = map[uuid.UUID]machine{}
	for line := range bytes.Lines(text) {
		var r struct {
			Machine *machine   `json:"machine"`
			Gone    *uuid.UUID `json:"gone"`
		}
		if json.Unmarshal(line, &r) != nil {
			continue // the last line is being written
		}
		if r.Machine != nil {
			all[r.Machine.UUID] = *r.Machine
		}
		if r.Gone != nil {
			if m := all[*r.Gone]; m.Seed != nil {
				removed = append(removed, m.Seed.Hostname)
			}
			delete(all, *r.Gone)
		}
	}
	return all, removed
}

// rest waits until the consistency check finds only what allowed lists.
func (s *stack) rest(allowed ...string) {
	s.t.Helper()
	var last fsck.Report
	var lastErr error
	ok := false
	for deadline := after(s.t); !ok; {
		select {
		case <-deadline:
			s.t.Errorf("fsck: %v %+v", lastErr, last)
			return
		default:
		}
		c, err := fsck.Login(s.t.Context(), s.url, email, password)
		if err == nil {
			last, err = c.Check(s.t.Context(), 1)
		}
		lastErr, ok = err, err == nil && len(last.Unchecked) == 0
		for _, f := range last.Findings {
			ok = ok && contains(allowed, f.Kind)
		}
	}
}
