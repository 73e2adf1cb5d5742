//go:build e2e && remote

package e2e

import (
	"context"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"slipway.dev/deploy/fsck"
)

// process is empty: the stack runs elsewhere.
type process struct{}

// anyStack is the stack at SLIPWAY_E2E_URL, which all tests share. Its administrator is SLIPWAY_E2E_EMAIL, with
// SLIPWAY_E2E_PASSWORD. What a test leaves there has to pass fsck.
func anyStack(t *testing.T) *stack {
	t.Helper()
	s := &stack{t: t, url: os.Getenv("SLIPWAY_E2E_URL"), email: os.Getenv("SLIPWAY_E2E_EMAIL"), password: os.Getenv("SLIPWAY_E2E_PASSWORD")}
	if s.url == "" || s.password == "" {
		t.Fatal("set SLIPWAY_E2E_URL and SLIPWAY_E2E_PASSWORD")
	}
	if s.email == "" {
		s.email = adminEmail
	}
	s.url = strings.TrimRight(s.url, "/")
	t.Cleanup(s.fsck)
	return s
}

// realStack is the same; its machines are real.
func realStack(t *testing.T) *stack {
	t.Helper()
	return anyStack(t)
}

// fsck fails the test if the consistency check finds anything.
func (s *stack) fsck() {
	s.t.Helper()
	ctx := context.WithoutCancel(s.t.Context())
	c, err := fsck.Login(ctx, s.url, s.email, s.password)
	if err != nil {
		s.t.Errorf("fsck: %v", err)
		return
	}
	if r, err := c.Rest(ctx, 2*time.Minute); err != nil || !r.Clean() {
		s.t.Errorf("fsck: %v %+v", err, r)
	}
}

// noTrace is what fsck looks for.
func (s *stack) noTrace() { s.fsck() }

// again does not restart the stack, which runs elsewhere.
func (s *stack) again(int) {}

// pretend makes a request come from an address. The stack has to trust this machine as a proxy.
func (s *stack) pretend(_ *http.Client, r *http.Request, addr string) {
	r.Header.Set("X-Forwarded-For", addr)
}

// logged is what the containers of the compose project SLIPWAY_E2E_PROJECT have logged, nothing where there is none.
func (s *stack) logged() string {
	s.t.Helper()
	project := os.Getenv("SLIPWAY_E2E_PROJECT")
	if project == "" {
		return ""
	}
	ids, err := exec.Command("docker", "ps", "--quiet", "--filter", "label=com.docker.compose.project="+project).Output()
	if err != nil {
		s.t.Fatal(err)
	}
	var all strings.Builder
	for id := range strings.FieldsSeq(string(ids)) {
		out, err := exec.Command("docker", "logs", id).CombinedOutput()
		if err != nil {
			s.t.Fatal(err)
		}
		all.Write(out)
	}
	if all.Len() == 0 {
		s.t.Fatal("no container has logged anything")
	}
	return all.String()
}
