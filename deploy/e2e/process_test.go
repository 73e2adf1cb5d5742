//go:build e2e && !remote

package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"slipway.dev/deploy/fsck"
)

const startTimeout = 60 * time.Second

// process is the local part of a stack that the test started.
type process struct {
	data       string
	hypervisor string
	cmd        *exec.Cmd
	exited     chan struct{}
	log        *os.File
	env        []string
	damaged    bool // what is recorded and what is there differ at the end, on purpose
}

// anyStack is one for a test that needs nothing but HTTP: here a process of its own, with simulated machines.
func anyStack(t *testing.T) *stack {
	t.Helper()
	return newStack(t, "sim")
}

// realStack is one with real machines.
func realStack(t *testing.T) *stack {
	t.Helper()
	return newStack(t, "libvirt")
}

// program is what make build made.
func program(t *testing.T) string {
	t.Helper()
	path := os.Getenv("SLIPWAY_BIN")
	if path == "" {
		path = "../../bin/slipway"
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(abs); err != nil {
		t.Fatalf("%v: run make build first", err)
	}
	return abs
}

// newStack makes a data directory and starts a stack on it. At the end it is stopped, its hosts are removed, and what is
// left of it fails the test.
func newStack(t *testing.T, hypervisor string, env ...string) *stack {
	t.Helper()
	return newStackAt(t, "data", hypervisor, env...)
}

// newStackAt is newStack in a directory of this name.
func newStackAt(t *testing.T, name, hypervisor string, env ...string) *stack {
	t.Helper()
	dir, err := os.MkdirTemp("", "slipway-e2e-")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil { // PostgreSQL and QEMU run as users of their own
		t.Fatal(err)
	}
	s := &stack{t: t, email: adminEmail, password: adminPassword, process: process{data: filepath.Join(dir, name), hypervisor: hypervisor, env: env}}
	if s.log, err = os.Create(filepath.Join(dir, "log")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.fsck()
		s.stop()
		if out, err := exec.Command(program(t), "wipe", "--data", s.data).CombinedOutput(); err != nil {
			t.Errorf("wipe: %v\n%s", err, out)
		}
		if t.Failed() {
			s.showLog()
		}
		_ = s.log.Close()
		if left := processes(s.data); len(left) > 0 {
			t.Errorf("processes are left: %v", left)
		}
		_ = os.RemoveAll(dir)
	})
	s.start()
	return s
}

// fsck fails the test if the consistency check finds anything. A test that leaves damage on purpose declares it by
// damaged.
func (s *stack) fsck() {
	s.t.Helper()
	select {
	case <-s.exited:
		return // the test stopped it for good
	default:
	}
	ctx := context.WithoutCancel(s.t.Context())
	c, err := fsck.Login(ctx, s.url, adminEmail, adminPassword)
	if err != nil {
		s.t.Errorf("fsck: %v", err)
		return
	}
	patience := time.Minute
	if s.damaged {
		patience = 2 * time.Second
	}
	r, err := c.Rest(ctx, patience)
	if err != nil || !r.Clean() != s.damaged {
		s.t.Errorf("fsck, damaged %t: %v %+v", s.damaged, err, r)
	}
}

// start runs slipway until it says that it is ready.
func (s *stack) start() {
	s.t.Helper()
	s.cmd = exec.Command(program(s.t), "up", "--data", s.data, "--listen", "127.0.0.1:0", "--hypervisor", s.hypervisor, "--accel", "tcg")
	s.cmd.Env = append(append(os.Environ(), "SLIPWAY_ADMIN_EMAIL="+adminEmail, "SLIPWAY_ADMIN_PASSWORD="+adminPassword,
		"SLIPWAY_METRICS_SERVER=off"), s.env...)
	s.cmd.Stderr = s.log
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	ready := make(chan string, 1)
	s.exited = make(chan struct{})
	go func() {
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			if url, ok := strings.CutPrefix(lines.Text(), "ready "); ok {
				ready <- url
			}
		}
		_ = s.cmd.Wait()
		close(s.exited)
	}()
	select {
	case s.url = <-ready:
	case <-s.exited:
		s.showLog()
		s.t.Fatal("slipway ended before it was ready")
	case <-time.After(startTimeout):
		s.t.Fatal("slipway is not ready after a minute")
	}
}

// stop asks the process to stop, as Ctrl-C does, and waits for it.
func (s *stack) stop() {
	s.t.Helper()
	_ = s.cmd.Process.Signal(syscall.SIGINT)
	select {
	case <-s.exited:
	case <-time.After(40 * time.Second):
		_ = s.cmd.Process.Kill()
		s.t.Error("slipway did not stop within 40 s")
		<-s.exited
	}
}

// again stops the stack and starts it; its machines go on meanwhile.
func (s *stack) again(machines int) {
	s.t.Helper()
	s.stop()
	left := processes(s.data)
	if bridges := bridges(s.t); machines == 0 && len(bridges) > 0 {
		s.t.Errorf("bridges are left: %q", bridges)
	}
	for _, p := range left {
		if !strings.Contains(p, "qemu-system") {
			s.t.Errorf("after a stop there is %q", p)
		}
	}
	if len(left) != machines {
		s.t.Errorf("after a stop there should be the machines alone: %q", left)
	}
	s.start()
}

// pretend makes requests come from an address of this machine.
func (s *stack) pretend(hc *http.Client, _ *http.Request, addr string) {
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(addr)}}
	hc.Transport.(*http.Transport).DialContext = dialer.DialContext
}

// kill ends the process by SIGKILL.
func (s *stack) kill() {
	_ = s.cmd.Process.Kill()
	<-s.exited
}

// logged is the log so far.
func (s *stack) logged() string {
	s.t.Helper()
	text, err := os.ReadFile(s.log.Name())
	if err != nil {
		s.t.Fatal(err)
	}
	return string(text)
}

func (s *stack) showLog() {
	var lines []string
	for line := range strings.Lines(s.logged()) {
		if !strings.Contains(line, `"status":200`) { // what went well is of no interest now
			lines = append(lines, line)
		}
	}
	s.t.Logf("log of slipway:\n%s", strings.Join(lines[max(0, len(lines)-60):], ""))
}

// noTrace checks that the node has no machine of this stack: no process, no file, no tap.
func (s *stack) noTrace() {
	s.t.Helper()
	for _, p := range processes(s.data) {
		if strings.Contains(p, "qemu-system") {
			s.t.Errorf("machine left: %s", p)
		}
	}
	files, _ := os.ReadDir(filepath.Join(s.data, "node", "machines"))
	for _, f := range files {
		s.t.Errorf("left of a machine: %s", f.Name())
	}
	// A simulated node keeps a log of what became of each machine.
	text, _ := os.ReadFile(filepath.Join(s.data, "node", "sim", "machines.log"))
	there := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		var r struct {
			Gone    string
			Machine struct{ UUID string }
		}
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			s.t.Fatal(err)
		}
		there[r.Machine.UUID] = r.Machine.UUID != ""
		delete(there, r.Gone)
	}
	delete(there, "")
	if len(there) > 0 {
		s.t.Errorf("simulated machines left: %v", there)
	}
}

// bridges lists the network devices of the main path.
func bridges(t *testing.T) []string {
	t.Helper()
	out, err := exec.Command("ip", "-o", "addr").Output()
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, "198.18.77.1/") {
			list = append(list, line)
		}
	}
	return list
}

// processes lists the command lines that name dir.
func processes(dir string) []string {
	var list []string
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err == nil && bytes.Contains(text, []byte(dir)) {
			line := strings.ReplaceAll(string(text), "\x00", " ")
			list = append(list, line[:min(len(line), 200)])
		}
	}
	return list
}
