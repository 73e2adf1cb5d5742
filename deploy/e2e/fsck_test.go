//go:build e2e && !remote

package e2e

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// fsckOf runs slipway fsck and returns what it says and ends with.
func (s *stack) fsckOf(args ...string) (string, int) {
	s.t.Helper()
	cmd := exec.Command(program(s.t), append([]string{"fsck", "--data", s.data, "--settle", "10ms"}, args...)...)
	cmd.Env = append(os.Environ(), "SLIPWAY_ADMIN_PASSWORD="+adminPassword)
	out, err := cmd.Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return string(out), exit.ExitCode()
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return string(out), 0
}

// TestFsck: slipway fsck checks a running stack and a stopped one, and its exit status reports the result.
func TestFsck(t *testing.T) {
	s := newStack(t, "sim")
	c := s.login()
	c.complete(c.must("POST", "/vm/v3/host", object{"name": "h", "os": c.tiny(), "password": "x", "ram_mib": 128}))
	if out, code := s.fsckOf(); code != 0 || !strings.Contains(out, "0 findings; looked at 1 nodes, 1 hosts, 1 machines, 1 addresses") {
		t.Errorf("at rest: %d %s", code, out)
	}
	if out, code := s.fsckOf("--url", "http://127.0.0.1:1"); code != 2 {
		t.Errorf("nobody answers: %d %s", code, out)
	}
	s.stop()
	if out, code := s.fsckOf("--json"); code != 0 || !strings.Contains(out, `"list":[]`) || !strings.Contains(out, `"hosts":1`) {
		t.Errorf("stopped: %d %s", code, out)
	}
	// The machine vanishes behind the stack's back.
	path := filepath.Join(s.data, "node", "sim", "machines.log")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	id := regexp.MustCompile(`"uuid":"([0-9a-f-]{36})"`).FindSubmatch(text)
	if err := os.WriteFile(path, append(text, `{"gone":"`+string(id[1])+"\"}\n"...), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, code := s.fsckOf(); code != 1 || !strings.Contains(out, "machine_missing") || !strings.Contains(out, "disk_missing") {
		t.Errorf("damaged: %d %s", code, out)
	}
	s.start()
	s.damaged = true
	if out, code := s.fsckOf(); code != 1 || !strings.Contains(out, "machine_missing") {
		t.Errorf("damaged, running: %d %s", code, out)
	}
}
