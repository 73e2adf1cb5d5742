//go:build e2e

package chaos_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"slipway.dev/gateway"
)

// TestClientsCut: clients disconnect at any byte of their request, or before they read the answer. Accepted requests
// are completed, nothing is left half done, and no goroutine keeps waiting for a client.
func TestClientsCut(t *testing.T) { // alone: it counts goroutines
	w := newWorld(t, 1)
	g, err := gateway.New(gateway.Config{Changes: -1}, gateway.Conns(w.Peers("gateway")), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := g.Server("")
	go srv.Serve(l)
	defer srv.Close()
	addr := l.Addr().String()

	resp, err := http.Post("http://"+addr+"/auth/v4/public/token", "application/json", strings.NewReader(`{"email":"admin@example.com","password":"chaos-Password-1"}`))
	if err != nil {
		t.Fatal(err)
	}
	var login struct {
		Token string `json:"token"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&login); err != nil || login.Token == "" {
		t.Fatalf("login: %v", err)
	}
	resp.Body.Close()
	http.DefaultClient.CloseIdleConnections()

	before := runtime.NumGoroutine()
	const n = 1000
	rng := rand.New(rand.NewPCG(w.seed, 5))
	cuts := make([]int, n) // bytes that are sent; -1 is all
	for i := range cuts {
		if cuts[i] = rng.IntN(400); rng.IntN(10) == 0 {
			cuts[i] = -1
		}
	}
	var whole, next int
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			for {
				mu.Lock()
				i := next
				next++
				mu.Unlock()
				if i >= n {
					return
				}
				if cut(t, addr, login.Token, fmt.Sprintf("c%d", i), w.os, cuts[i], i%2 == 0) {
					mu.Lock()
					whole++
					mu.Unlock()
				}
			}
		})
	}
	ctx, stop := context.WithTimeout(t.Context(), 2*time.Minute)
	defer stop()
	if !everyone(ctx, &wg) {
		t.Fatal("clients hang")
	}
	for deadline := time.Now().Add(healing); w.count("vm", `SELECT count(*) FROM job WHERE finished_at IS NULL`) > 0; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("jobs do not end")
		}
	}
	w.rest(healing)
	hosts := w.count("vm", `SELECT count(*) FROM host WHERE state = 'active'`)
	all := w.count("vm", `SELECT count(*) FROM host`)
	t.Logf("%d clients, %d sent all, %d hosts", n, whole, hosts)
	if hosts != all || hosts > whole || hosts == 0 || whole < n/20 {
		t.Errorf("seed %d: %d hosts, %d of them active, of %d whole requests", w.seed, all, hosts, whole)
	}
	for deadline := time.Now().Add(healing); runtime.NumGoroutine() > before+20; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			buf := make([]byte, 1<<20)
			t.Fatalf("%d goroutines were there before, %d are there now:\n%s", before, runtime.NumGoroutine(), buf[:runtime.Stack(buf, true)])
		}
	}
}

// cut sends a create up to a byte and disconnects, with or without a reset. It reports whether the whole request was
// sent.
func cut(t *testing.T, addr, token, name string, os int32, at int, reset bool) bool {
	body := fmt.Sprintf(`{"name":%q,"os":%d,"ssh_keys":[%q]}`, name, os, key)
	text := fmt.Sprintf("POST /vm/v3/host HTTP/1.1\r\nHost: %s\r\nx-xsrf-token: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
		addr, token, len(body), body)
	if at < 0 || at > len(text) {
		at = len(text)
	}
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Error(err)
		return false
	}
	defer c.Close()
	if _, err := c.Write([]byte(text[:at])); err != nil {
		t.Error(err)
		return false
	}
	if at == len(text) { // somewhere between acceptance and answer
		_ = c.SetReadDeadline(time.Now().Add(rand.N(time.Second)))
		_, _ = c.Read(make([]byte, 1))
	}
	if reset {
		_ = c.(*net.TCPConn).SetLinger(0)
	}
	return at == len(text)
}
