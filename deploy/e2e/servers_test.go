//go:build e2e && !remote

package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"slipway.dev/pkg/pg/pgembed"
)

// TestSideBySide runs two stacks on one machine, each with a real host; one in a directory whose name is too long for the
// sockets below it.
func TestSideBySide(t *testing.T) {
	a, b := newStackAt(t, "a-directory-with-a-long-name-for-the-data-of-this-stack", "libvirt"), newStack(t, "libvirt")
	ca, cb := a.login(), b.login()
	made := ca.must("POST", "/vm/v3/host", object{"name": "only-in-a", "os": ca.tiny(), "password": "x"})
	ca.complete(made)
	if l := cb.list("/vm/v3/host"); len(l) != 0 {
		t.Errorf("b sees hosts of a: %v", l)
	}
	if status, _ := (&client{s: b, token: ca.token}).do("GET", "/vm/v3/host", nil); status != 401 {
		t.Errorf("b takes a's token: %d", status)
	}
	other := cb.must("POST", "/vm/v3/host", object{"name": "only-in-b", "os": cb.tiny(), "password": "x"})
	cb.complete(other)
	cb.complete(cb.must("DELETE", fmt.Sprintf("/vm/v3/host/%d", number(other, "id")), nil))
	b.stop()
	if h := ca.host(number(made, "id")); h["state"] != "active" {
		t.Errorf("after b is gone: %v", h)
	}
	ca.console(number(made, "id"), "slipway-guest ready only-in-a 10.")
	b.start()
}

// TestCatalogue: an image whose publisher cannot be reached is a task that fails and leaves nothing. With the internet
// at hand it would take minutes, so the address is shut here.
func TestCatalogue(t *testing.T) {
	s := newStack(t, "sim", "HTTPS_PROXY=http://127.0.0.1:9")
	c := s.login()
	if l := c.list("/vm/v3/catalogue"); len(l) < 4 {
		t.Errorf("catalogue %v", l)
	}
	op := c.must("POST", "/vm/v3/catalogue/debian-12/import", nil)
	if l := c.list("/vm/v3/os?where=name+EQ+'debian-12'"); len(l) != 1 || l[0]["state"] != "importing" {
		t.Errorf("while importing: %v", l)
	}
	if status, body := c.do("POST", "/vm/v3/catalogue/debian-12/import", nil); status != 400 {
		t.Errorf("a second import: %d %v", status, body)
	}
	if end := c.finish(number(op, "task"), 30*time.Second); end["status"] != "failed" || !strings.Contains(end["output"].(string), "cannot be reached") {
		t.Errorf("task %v", end)
	}
	if l := c.list("/vm/v3/os?where=name+EQ+'debian-12'"); len(l) != 0 {
		t.Errorf("left: %v", l)
	}
	if status, _ := c.do("POST", "/vm/v3/catalogue/none/import", nil); status != 404 {
		t.Errorf("an image that is not in the catalogue: %d", status)
	}
}

// TestGivenServers runs a stack on a PostgreSQL and a NATS that are there already.
func TestGivenServers(t *testing.T) {
	dir, err := os.MkdirTemp("", "slipway-e2e-servers-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) }) // after the stack is checked and stopped, as all below
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	db, err := pgembed.Start(t.Context(), pgembed.Config{Dir: filepath.Join(dir, "postgres"), Fast: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Stop(context.WithoutCancel(t.Context())) })
	ns, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: filepath.Join(dir, "nats"), NoSigs: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	ns.Start()
	t.Cleanup(ns.Shutdown)
	if !ns.ReadyForConnections(10 * time.Second) {
		t.Fatal("nats is not ready")
	}
	s := newStack(t, "sim", "SLIPWAY_POSTGRES_URL="+db.URL(), "SLIPWAY_NATS_URL="+ns.ClientURL(), "SLIPWAY_AUTH_TOKEN_TTL=2h")
	c := s.login()
	if v := c.must("GET", "/auth/v4/setting/token_ttl", nil)["value"]; v != "120" {
		t.Errorf("a setting of auth is not heard: token_ttl is %v minutes", v)
	}
	c.complete(c.must("POST", "/vm/v3/host", object{"name": "a", "os": c.tiny(), "password": "x"}))
	for _, sub := range []string{"postgres", "nats"} {
		if _, err := os.Stat(filepath.Join(s.data, sub)); err == nil {
			t.Errorf("a private %s was made", sub)
		}
	}
}
