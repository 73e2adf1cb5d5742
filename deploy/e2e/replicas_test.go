//go:build e2e && remote && containers

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// healthy waits until the container's own health check says so.
func (c container) healthy() {
	c.t.Helper()
	for range 600 {
		if strings.TrimSpace(docker(c.t, "inspect", "--format", "{{.State.Health.Status}}", c.id)) == "healthy" {
			return
		}
		time.Sleep(200 * time.Millisecond)
	}
	c.t.Fatalf("%s does not become healthy\n%s", c.name, docker(c.t, "logs", "--tail", "20", c.id))
}

// load asks and makes hosts, several clients side by side, until stop is called.
type load struct {
	t     *testing.T
	c     *client
	web   *http.Client
	tiny  int
	end   chan struct{}
	wg    sync.WaitGroup
	total atomic.Int64
	again atomic.Int64 // 503 that may be repeated

	mu       sync.Mutex
	accepted []int // tasks of hosts
	failures []string
}

func startLoad(t *testing.T, c *client, clients int) *load {
	t.Helper()
	l := &load{t: t, c: c, web: &http.Client{Timeout: 40 * time.Second}, tiny: c.tiny(), end: make(chan struct{})}
	for n := range clients {
		l.wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-l.end:
					return
				default:
				}
				if i%20 == 0 {
					l.create(fmt.Sprintf("load-%d-%d", n, i))
				} else {
					l.ask("GET", "/vm/v3/host?limit=20", "")
				}
			}
		})
	}
	return l
}

func (l *load) stop() {
	close(l.end)
	l.wg.Wait()
}

// create makes a host without an address, of which there are not enough.
func (l *load) create(name string) {
	text := l.ask("POST", "/vm/v3/host", fmt.Sprintf(`{"name":%q,"os":%d,"password":"x","ram_mib":128,"hdd_mib":64,"ipv4_number":0,"ssh_keys":[]}`, name, l.tiny))
	if text == nil {
		return
	}
	var made object
	if err := json.Unmarshal(text, &made); err != nil || number(made, "task") == 0 {
		l.fail("create answered %s", text)
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.accepted = append(l.accepted, number(made, "task"))
}

// ask makes a request and returns its answer, nil when it was refused with a 503.
func (l *load) ask(method, path, body string) []byte {
	l.total.Add(1)
	status, text, err := l.send(context.Background(), method, path, body)
	switch {
	case err != nil:
		l.fail("%s %s: %v", method, path, err)
	case status == http.StatusServiceUnavailable:
		l.again.Add(1)
	case status != http.StatusOK:
		l.fail("%s %s: %d %.300s", method, path, status, text)
	default:
		return text
	}
	return nil
}

func (l *load) send(ctx context.Context, method, path, body string) (int, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, l.c.s.url+path, bytes.NewReader([]byte(body)))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("x-xsrf-token", l.c.token)
	resp, err := l.web.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return resp.StatusCode, text, err
}

func (l *load) fail(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failures = append(l.failures, fmt.Sprintf(format, args...))
}

// TestRollingRestart restarts every replica, one after the other, while clients ask and make hosts: no accepted
// request is lost, and few requests must be repeated.
func TestRollingRestart(t *testing.T) {
	s := anyStack(t)
	c := s.login()
	l := startLoad(t, c, 4)
	for _, service := range []string{"auth", "ip", "vm", "gateway"} {
		list := containers(t, service)
		if len(list) != 2 {
			t.Errorf("%s has %d replicas", service, len(list))
		}
		for _, k := range list {
			docker(t, "restart", "--time", "30", k.id)
			k.healthy()
		}
	}
	for _, service := range []string{"nats", "nats-2", "nats-3"} {
		for _, k := range containers(t, service) {
			docker(t, "restart", "--time", "30", k.id)
			k.healthy()
		}
	}
	l.stop()
	total, again := l.total.Load(), l.again.Load()
	t.Logf("%d requests, %d answered 503, %d hosts made", total, again, len(l.accepted))
	for i, f := range l.failures {
		if i < 10 {
			t.Error(f)
		}
	}
	if again*1000 > total {
		t.Errorf("%d of %d requests had to be repeated", again, total)
	}
	for _, task := range l.accepted {
		if end := c.finish(task, 2*time.Minute); end["status"] != "complete" {
			t.Errorf("accepted, and then: %v", end)
		}
	}
}

// TestKilledReplica kills one replica after the other by SIGKILL: a client that repeats an unanswered request is
// served within five seconds.
func TestKilledReplica(t *testing.T) {
	s := anyStack(t)
	l := &load{t: t, c: s.login(), web: &http.Client{}}
	for _, service := range []string{"auth", "ip", "vm", "gateway"} {
		for _, k := range containers(t, service) {
			docker(t, "kill", "--signal", "KILL", k.id)
			for range 50 {
				l.within(5*time.Second, "/vm/v3/host?limit=5")
				l.within(5*time.Second, "/vm/v3/ip?limit=5")
				l.within(5*time.Second, "/auth/v4/whoami")
			}
			docker(t, "start", k.id)
			k.healthy()
		}
	}
}

// within asks again and again until it is answered.
func (l *load) within(d time.Duration, path string) {
	l.t.Helper()
	ctx, stop := context.WithTimeout(l.t.Context(), d)
	defer stop()
	for {
		status, text, err := l.send(ctx, "GET", path, "")
		if err == nil && status == http.StatusOK {
			return
		}
		if ctx.Err() != nil {
			l.t.Errorf("%s is not answered: %d %.300s %v", path, status, text, err)
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
}
