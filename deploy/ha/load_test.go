//go:build e2e

package ha

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"
)

func contains(list []string, x string) bool { return slices.Contains(list, x) }

// after is closed when it is too late.
func after(t *testing.T) <-chan time.Time {
	t.Helper()
	return time.After(patience)
}

// answer is one request of the load and how it ended.
type answer struct {
	kind   string
	name   string
	status int // 0 without an answer
	id     int
	task   int
	text   string
	at     time.Time // of the answer
}

// load are clients that create hosts, read lists and log in until they are told to stop.
type load struct {
	t    *testing.T
	s    *stack
	os   int
	stop context.CancelFunc
	all  sync.WaitGroup

	mu      sync.Mutex
	token   string
	answers []answer
}

func (l *load) session() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.token
}

// setToken makes the load use the session in the answer to a login.
func (l *load) setToken(text []byte) {
	var t struct{ Token string }
	if json.Unmarshal(text, &t) != nil || t.Token == "" {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.token = t.Token
}

func (s *stack) call(ctx context.Context, token, method, path string, body any) (int, []byte, error) {
	var r io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return 0, nil, err
		}
		r = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, s.url+path, r)
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("x-xsrf-token", token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return resp.StatusCode, text, err
}

// must calls and decodes an answer that is to be good. It repeats what is answered with 503, as clients do.
func (s *stack) must(token, method, path string, body, into any) {
	s.t.Helper()
	status, text, err := s.call(s.t.Context(), token, method, path, body)
	for deadline := time.Now().Add(patience); status == http.StatusServiceUnavailable && time.Now().Before(deadline); {
		time.Sleep(100 * time.Millisecond) // between two requests
		status, text, err = s.call(s.t.Context(), token, method, path, body)
	}
	if err != nil || status/100 != 2 {
		s.t.Fatalf("%s %s: %d %v %s", method, path, status, err, text)
	}
	if into != nil {
		must(s.t, json.Unmarshal(text, into))
	}
}

func (s *stack) login() string {
	s.t.Helper()
	var t struct{ Token string }
	s.must("", "POST", "/auth/v4/public/token", map[string]string{"email": email, "password": password}, &t)
	return t.Token
}

// startLoad makes room for hosts and starts the clients.
func startLoad(s *stack) *load {
	s.t.Helper()
	l := &load{t: s.t, s: s, token: s.login()}
	var list struct{ List []struct{ ID int } }
	s.must(l.token, "GET", "/vm/v3/os", nil, &list)
	l.os = list.List[0].ID
	s.must(l.token, "POST", "/ip/v3/userspace/public/ipnet", map[string]string{"name": "198.18.0.0/16", "gateway": "198.18.0.1"}, nil)
	s.must(l.token, "POST", "/ip/v3/ippool/1/range", map[string]string{"name": "198.18.0.10-198.18.15.250"}, nil)
	ctx, stop := context.WithCancel(context.WithoutCancel(s.t.Context()))
	l.stop = stop
	s.t.Cleanup(l.end)
	for i := range 2 {
		l.client(ctx, func(n int) (string, string, string, string, any) {
			name := fmt.Sprintf("h%d-%d", i, n)
			return "create", name, "POST", "/vm/v3/host", map[string]any{
				"name": name, "os": l.os, "password": password, "cpu_number": 1, "ram_mib": 16, "hdd_mib": 1,
			}
		})
	}
	l.client(ctx, func(int) (string, string, string, string, any) {
		return "list", "", "GET", "/vm/v3/host?limit=0,5", nil
	})
	l.client(ctx, func(int) (string, string, string, string, any) {
		return "login", "", "POST", "/auth/v4/public/token", map[string]string{"email": email, "password": password}
	})
	return l
}

// client sends one request after the other.
func (l *load) client(ctx context.Context, next func(n int) (kind, name, method, path string, body any)) {
	l.all.Go(func() {
		for n := 0; ctx.Err() == nil; n++ {
			kind, name, method, path, body := next(n)
			status, text, err := l.s.call(ctx, l.session(), method, path, body)
			if ctx.Err() != nil && err != nil {
				status = 0
			}
			a := answer{kind: kind, name: name, status: status, text: string(text), at: time.Now()}
			var made struct{ ID, Task int }
			if kind == "create" && status/100 == 2 && json.Unmarshal(text, &made) == nil {
				a.id, a.task = made.ID, made.Task
			}
			l.mu.Lock()
			l.answers = append(l.answers, a)
			l.mu.Unlock()
			wait := 30 * time.Millisecond // a client that thinks
			if status/100 != 2 {
				wait = 100 * time.Millisecond
			}
			select {
			case <-ctx.Done():
			case <-time.After(wait):
			}
		}
	})
}

func (l *load) end() {
	l.stop()
	l.all.Wait()
}

// good returns how many requests of a kind were answered well after a moment, and when the first was.
func (l *load) good(kind string, since time.Time) (n int, first time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, a := range l.answers {
		if a.kind == kind && a.status/100 == 2 && a.at.After(since) {
			if n++; first.IsZero() {
				first = a.at
			}
		}
	}
	return n, first
}

// await waits until so many creates were accepted after a moment.
func (l *load) await(creates int, since time.Time) {
	l.t.Helper()
	await(l.t, fmt.Sprint(creates, " creates are accepted"), func() bool {
		n, _ := l.good("create", since)
		return n >= creates
	})
}
