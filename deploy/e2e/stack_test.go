//go:build e2e

// Package e2e drives a whole stack from outside, over HTTP, as clients do. `make test` runs it; it starts what it needs.
package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
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

const (
	adminEmail    = "admin@example.com"
	adminPassword = "e2e-Password-1"
	startTimeout  = 60 * time.Second
)

// stack is a slipway process of the test's own.
type stack struct {
	t          *testing.T
	data       string
	hypervisor string
	url        string
	cmd        *exec.Cmd
	exited     chan struct{}
	log        *os.File
	env        []string
	damaged    bool // what is recorded and what is there differ at the end, on purpose
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
	s := &stack{t: t, data: filepath.Join(dir, name), hypervisor: hypervisor, env: env}
	if s.log, err = os.Create(filepath.Join(dir, "log")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.audit()
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

// audit fails the test when what the stack has recorded is not what is there. A test that leaves damage on purpose says so
// by damaged.
func (s *stack) audit() {
	s.t.Helper()
	select {
	case <-s.exited:
		return // the test stopped it for good
	default:
	}
	ctx := context.WithoutCancel(s.t.Context())
	c, err := fsck.Login(ctx, s.url, adminEmail, adminPassword)
	if err != nil {
		s.t.Errorf("audit: %v", err)
		return
	}
	patience := time.Minute
	if s.damaged {
		patience = 2 * time.Second
	}
	r, err := c.Rest(ctx, patience)
	if err != nil || !r.Clean() != s.damaged {
		s.t.Errorf("audit, damaged %t: %v %+v", s.damaged, err, r)
	}
}

// start runs slipway until it says that it is ready.
func (s *stack) start() {
	s.t.Helper()
	s.cmd = exec.Command(program(s.t), "up", "--data", s.data, "--listen", "127.0.0.1:0", "--hypervisor", s.hypervisor, "--accel", "tcg")
	s.cmd.Env = append(append(os.Environ(), "SLIPWAY_ADMIN_EMAIL="+adminEmail, "SLIPWAY_ADMIN_PASSWORD="+adminPassword), s.env...)
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

// kill ends the process with no chance to tidy up.
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

// object is a JSON object.
type object = map[string]any

// client makes requests with one token.
type client struct {
	s     *stack
	token string
}

// login is a client of the administrator.
func (s *stack) login() *client {
	s.t.Helper()
	c := &client{s: s}
	status, body := c.do("POST", "/auth/v4/public/token", object{"email": adminEmail, "password": adminPassword})
	if status != 201 {
		s.t.Fatalf("login: %d %v", status, body)
	}
	c.token = body["token"].(string)
	return c
}

// raw makes a request and returns what came.
func (c *client) raw(method, path string, body any) (*http.Response, []byte) {
	c.s.t.Helper()
	var r io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		r = strings.NewReader(b)
	default:
		text, err := json.Marshal(b)
		if err != nil {
			c.s.t.Fatal(err)
		}
		r = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(c.s.t.Context(), method, c.s.url+path, r)
	if err != nil {
		c.s.t.Fatal(err)
	}
	if c.token != "" {
		req.Header.Set("x-xsrf-token", c.token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		c.s.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		c.s.t.Fatal(err)
	}
	return resp, text
}

// do makes a request and decodes the answer.
func (c *client) do(method, path string, body any) (int, object) {
	c.s.t.Helper()
	resp, text := c.raw(method, path, body)
	var o object
	if err := json.Unmarshal(text, &o); err != nil {
		c.s.t.Fatalf("%s %s answered %d with %.300s: %v", method, path, resp.StatusCode, text, err)
	}
	return resp.StatusCode, o
}

// must is do for what has to succeed. Nothing successful may hold the word "error" in quotes: clients look for it.
func (c *client) must(method, path string, body any) object {
	c.s.t.Helper()
	resp, text := c.raw(method, path, body)
	var o object
	if err := json.Unmarshal(text, &o); err != nil || resp.StatusCode != 200 || bytes.Contains(text, []byte(`"error"`)) {
		c.s.t.Fatalf("%s %s: %d %.500s", method, path, resp.StatusCode, text)
	}
	return o
}

// list is must for a list, with and without the prefix /api.
func (c *client) list(path string) []object {
	c.s.t.Helper()
	a, b := c.must("GET", path, nil), c.must("GET", "/api"+path, nil)
	if fmt.Sprint(a["list"]) != fmt.Sprint(b["list"]) {
		c.s.t.Errorf("%s differs under /api", path)
	}
	items, ok := a["list"].([]any)
	if !ok {
		c.s.t.Fatalf("%s has no list: %v", path, a)
	}
	if _, ok := a["size"].(float64); !ok {
		c.s.t.Errorf("%s has no size: %v", path, a)
	}
	list := make([]object, len(items))
	for i, x := range items {
		list[i] = x.(object)
	}
	return list
}

func number(o object, key string) int {
	n, _ := o[key].(float64)
	return int(n)
}

// task is a task as the list shows it.
func (c *client) task(id int) object {
	c.s.t.Helper()
	l := c.must("GET", fmt.Sprintf("/vm/v3/task?where=consul_id+EQ+%d", id), nil)["list"].([]any)
	if len(l) != 1 {
		c.s.t.Fatalf("task %d: %v", id, l)
	}
	return l[0].(object)
}

// finish waits for the end of a task.
func (c *client) finish(id int, within time.Duration) object {
	c.s.t.Helper()
	for deadline := time.Now().Add(within); ; time.Sleep(20 * time.Millisecond) {
		t := c.task(id)
		switch t["status"] {
		case "complete", "failed", "canceled":
			return t
		}
		if time.Now().After(deadline) {
			c.s.t.Fatalf("task %d does not end: %v %v", id, t, c.must("GET", fmt.Sprintf("/vm/v3/task/%d", id), nil))
		}
	}
}

// complete waits for a task that has to succeed.
func (c *client) complete(answer object) {
	c.s.t.Helper()
	if t := c.finish(number(answer, "task"), 90*time.Second); t["status"] != "complete" {
		c.s.t.Fatalf("task: %v", t)
	}
}

func (c *client) host(id int) object {
	c.s.t.Helper()
	return c.must("GET", fmt.Sprintf("/vm/v3/host/%d", id), nil)
}

// console waits until the host's console says what.
func (c *client) console(id int, what string) string {
	c.s.t.Helper()
	path := fmt.Sprintf("/vm/v3/host/%d/console", id)
	for deadline := time.Now().Add(60 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		resp, text := c.raw("GET", path, nil)
		if resp.StatusCode == 200 && bytes.Contains(text, []byte(what)) {
			return string(text)
		}
		if time.Now().After(deadline) {
			c.s.t.Fatalf("the console does not say %q: %d\n%s", what, resp.StatusCode, text)
		}
	}
}

// tiny is the id of the OS template that the build makes.
func (c *client) tiny() int {
	c.s.t.Helper()
	l := c.list("/vm/v3/os?where=(name+EQ+'tiny')")
	if len(l) != 1 {
		c.s.t.Fatalf("OS templates: %v", l)
	}
	return number(l[0], "id")
}
