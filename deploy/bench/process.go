package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// process is a program that was started for the bench.
type process struct {
	cmd  *exec.Cmd
	done chan struct{}
	url  string
}

// launch starts a program; its log goes to a file in the bench's directory, each line of its output to say.
func (b *bench) launch(name string, say func(line string), env []string, args ...string) (*process, error) {
	p := &process{cmd: exec.Command(filepath.Join(b.bin, name), args...), done: make(chan struct{})}
	log, err := os.Create(filepath.Join(b.dir, name+".log"))
	if err != nil {
		return nil, err
	}
	p.cmd.Stderr, p.cmd.Env = log, append(os.Environ(), env...)
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		for lines := bufio.NewScanner(out); lines.Scan(); {
			say(lines.Text())
		}
		_ = p.cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// silent is for programs whose output says nothing.
func silent(string) {}

// up starts slipway and waits until it is ready.
func (b *bench) up(hypervisor, data, url string, env ...string) (*process, error) {
	ready := make(chan string, 1)
	say := func(line string) {
		if url, ok := strings.CutPrefix(line, "ready "); ok {
			ready <- url
		}
	}
	// One key for all, because separate processes go on with the database of an estate.
	dir := filepath.Join(b.dir, data)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(dir, "master-key"), []byte(b.master), 0o600); err != nil {
		return nil, err
	}
	env = append(env, "SLIPWAY_ADMIN_PASSWORD=bench", "SLIPWAY_POSTGRES_URL="+url, "SLIPWAY_LOG=warn")
	p, err := b.launch("slipway", say, env, "up", "--data", dir, "--listen", "127.0.0.1:0",
		"--hypervisor", hypervisor, "--accel", "tcg", "--metrics-server", "off")
	if err != nil {
		return nil, err
	}
	select {
	case p.url = <-ready:
		return p, nil
	case <-p.done:
		text, _ := os.ReadFile(filepath.Join(b.dir, "slipway.log"))
		return nil, fmt.Errorf("slipway ended: %s", text)
	case <-time.After(time.Minute):
		p.stop()
		return nil, errors.New("slipway is not ready after a minute")
	}
}

// stop ends a process and waits for it.
func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(30 * time.Second):
		_ = p.cmd.Process.Kill()
	}
}

// memory is what a process holds in RAM, in MiB.
func (p *process) memory() int {
	text, _ := os.ReadFile("/proc/" + strconv.Itoa(p.cmd.Process.Pid) + "/status")
	for line := range strings.Lines(string(text)) {
		if kib, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			n, _ := strconv.Atoi(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(kib), "kB")))
			return n / 1024
		}
	}
	return 0
}

// api is a client of one stack.
type api struct {
	url, token      string
	stack, postgres int // processes, where known
}

// open starts a stack, as up does, and logs in.
func (b *bench) open(hypervisor, data, url string, env ...string) (*process, *api, error) {
	p, err := b.up(hypervisor, data, url, env...)
	if err != nil {
		return nil, nil, err
	}
	a, err := b.login(p.url)
	if err != nil {
		p.stop()
	}
	return p, a, err
}

func (b *bench) login(url string) (*api, error) {
	a := &api{url: url}
	var t struct {
		Token string `json:"token"`
	}
	err := a.do("POST", "/auth/v4/public/token", map[string]string{"email": "admin@example.com", "password": "bench"}, &t)
	a.token = t.Token
	return a, err
}

func (a *api) do(method, path string, body, into any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	req, err := http.NewRequest(method, a.url+path, bytes.NewReader(text)) //nolint:noctx // short and local
	if err != nil {
		return err
	}
	req.Header.Set("x-xsrf-token", a.token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 300 {
		var why bytes.Buffer
		_, _ = why.ReadFrom(resp.Body)
		return fmt.Errorf("%s %s: %d %s", method, path, resp.StatusCode, why.String())
	}
	return json.NewDecoder(resp.Body).Decode(into)
}

type made struct {
	ID   int `json:"id"`
	Task int `json:"task"`
}

// host makes a host and waits until it is active; it returns how long that took.
func (a *api) host(name string) (m made, took time.Duration, err error) {
	start := time.Now()
	if err := a.do("POST", "/vm/v3/host", hostBody(name), &m); err != nil {
		return m, 0, err
	}
	err = a.wait(m.Task)
	return m, time.Since(start), err
}

func hostBody(name string) map[string]any {
	return map[string]any{"name": name, "os": 1, "ssh_keys": []string{benchKey}, "ram_mib": 128, "hdd_mib": 64}
}

// benchKey is used instead of a password, because hashing a password would distort the measurement.
const benchKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"

// wait returns when a task is complete.
func (a *api) wait(task int) error {
	for range 30_000 {
		var l struct {
			List []struct {
				Status string `json:"status"`
				Output string `json:"output"`
			} `json:"list"`
		}
		if err := a.do("GET", fmt.Sprintf("/vm/v3/task?where=consul_id+EQ+%d", task), nil, &l); err != nil {
			return err
		}
		switch s := l.List[0]; s.Status {
		case "complete":
			return nil
		case "failed", "canceled":
			return fmt.Errorf("task %d is %s: %s", task, s.Status, s.Output)
		}
		time.Sleep(2 * time.Millisecond)
	}
	return fmt.Errorf("task %d does not end", task)
}

func (a *api) remove(m made) error {
	var op made
	if err := a.do("DELETE", fmt.Sprintf("/vm/v3/host/%d", m.ID), nil, &op); err != nil {
		return err
	}
	return a.wait(op.Task)
}

// freePort returns a loopback port without a listener.
func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// awaitHTTP waits until a URL answers with 200.
func awaitHTTP(ctx context.Context, url string) error {
	for range 600 {
		if _, err := get(ctx, http.DefaultClient, target{url: url}); err == nil {
			return nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	return fmt.Errorf("%s does not answer", url)
}
