package hostile

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"slipway.dev/deploy/parts"
	"slipway.dev/deploy/stack"
	"slipway.dev/gateway"
	"slipway.dev/pkg/bus"
	"slipway.dev/pkg/bus/bustest"
	"slipway.dev/pkg/faulty"
	"slipway.dev/pkg/pg"
	"slipway.dev/pkg/pg/pgtest"
	"slipway.dev/pkg/run"
	"slipway.dev/services/auth"
	"slipway.dev/services/node"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

const (
	adminEmail    = "admin@example.com"
	adminPassword = "canary-admin-password"
)

// world is every service in this process, on a database and a bus of its own, with simulated machines.
type world struct {
	*testing.T
	handler http.Handler
	gateway *gateway.Gateway
	bus     *bus.Bus
	pools   map[string]*pgxpool.Pool
	proxies map[string]*faulty.Proxy // between each service and its database
	root    string                   // of the node
	log     *lines
	admin   *client
}

// lines is a log that tests can read while services write it.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write implements io.Writer.
func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func newStack(t *testing.T) *world {
	t.Helper()
	s := &world{
		T: t, bus: bustest.New(t), pools: map[string]*pgxpool.Pool{}, proxies: map[string]*faulty.Proxy{},
		root: t.TempDir(), log: &lines{},
	}
	log := slog.New(slog.NewJSONHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	for _, p := range parts.Services(parts.All()) {
		url, schema := pgtest.Schema(t)
		pool, err := pg.Open(t.Context(), s.through(p.Name, url), schema)
		s.must(err)
		t.Cleanup(s.proxies[p.Name].Close)
		t.Cleanup(pool.Close)
		s.pools[p.Name] = pool
	}
	ctx := t.Context()
	services, err := stack.New(ctx, stack.Config{Pools: s.pools, Bus: s.bus, Log: log, Settings: map[string]string{
		"SLIPWAY_AUTH_MASTER_KEY": auth.NewMasterKey(), "SLIPWAY_AUTH_ADMIN_EMAIL": adminEmail, "SLIPWAY_AUTH_ADMIN_PASSWORD": adminPassword,
		"SLIPWAY_IP_QUARANTINE": "-1s",
		"SLIPWAY_VM_WORKERS":    "8", "SLIPWAY_VM_WATCH_EVERY": "1s", "SLIPWAY_VM_DOMAIN_TEMPLATE": "{name}.test",
	}})
	s.must(err)
	nodeID, err := node.Identity(s.root, "")
	s.must(err)
	n, err := node.New(ctx, node.Config{
		Root: s.root, StackID: "hostile", Endpoint: node.LocalEndpoint, Hypervisor: node.Sim, Templates: templates(t),
	}, services.AgentConn(nodeID), log.With("service", "node"))
	s.must(err)
	t.Cleanup(func() { _ = n.Close() })
	services.AddAgent(nodeID, node.LocalEndpoint, n.Server())
	_, err = n.Register(ctx)
	s.must(err)
	gw, err := gateway.New(gateway.Config{Changes: -1}, gateway.Conns(services.Peers("gateway")), log.With("service", "gateway"))
	s.must(err)
	s.handler, s.gateway = gw.Handler(), gw
	s.goOn(services, n, run.Func(func(ctx context.Context) error {
		return s.bus.Watch(ctx, []string{"auth.v4.>"}, func(bus.Event) { gw.ForgetAll() }, gw.ForgetAll)
	}))
	s.admin = s.login(adminEmail, adminPassword)
	return s
}

func (s *world) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

// goOn runs the services until the end of the test.
func (s *world) goOn(services ...run.Service) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run.All(ctx, services...) }()
	s.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			s.Errorf("the stack ended: %v", err)
		}
	})
}

// templates returns a directory with a tiny OS template.
func templates(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	image := filepath.Join(dir, "tiny.qcow2")
	if out, err := exec.Command("qemu-img", "create", "-q", "-f", "qcow2", image, "1M").CombinedOutput(); err != nil {
		t.Fatalf("qemu-img: %v %s", err, out)
	}
	text, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	about := fmt.Sprintf(`{"name":"tiny","file":"tiny.qcow2","sha256":"%x","min_ram_mib":16,"min_disk_mib":1,"os_type":"linux"}`, sha256.Sum256(text))
	if err := os.WriteFile(filepath.Join(dir, "tiny.json"), []byte(about), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// object is a JSON object.
type object = map[string]any

// client sends requests with one token, "" for none.
type client struct {
	*world
	token string
}

// answer is a response.
type answer struct {
	status int
	text   string
	body   object // nil when the text is no JSON object
	// shaped: a refusal has the shape of the path's dialect; reason is that of the fault.
	shaped bool
	reason string
}

func (a answer) number(name string) int {
	n, _ := a.body[name].(float64)
	return int(n)
}

// send makes a request; headers are name and value in turn.
func (c *client) send(method, path, body string, headers ...string) answer {
	c.Helper()
	r := httptest.NewRequest(method, "http://panel.test/", strings.NewReader(body))
	// As it came on the wire: NewRequest would refuse what a hostile client sends.
	r.RequestURI = path
	u, err := r.URL.Parse(path)
	if err != nil {
		return answer{status: http.StatusBadRequest}
	}
	r.URL = u
	if c.token != "" {
		r.Header.Set("X-Xsrf-Token", c.token)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	rec := httptest.NewRecorder()
	c.handler.ServeHTTP(rec, r)
	text, err := io.ReadAll(rec.Result().Body)
	c.must(err)
	a := answer{status: rec.Code, text: string(text)}
	_ = json.Unmarshal(text, &a.body)
	if a.status >= 400 {
		a.reason, a.shaped = c.gateway.ReadError(u.Path, text)
	}
	return a
}

// ok is send for a request that must succeed.
func (c *client) ok(method, path, body string, headers ...string) answer {
	c.Helper()
	a := c.send(method, path, body, headers...)
	if a.status >= 300 {
		c.Fatalf("%s %s %s: %d %s", method, path, body, a.status, a.text)
	}
	return a
}

func (s *world) nobody() *client { return &client{world: s} }

func (s *world) login(email, password string) *client {
	s.Helper()
	a := s.nobody().ok("POST", "/auth/v4/public/token", fmt.Sprintf(`{"email":%q,"password":%q}`, email, password))
	return &client{world: s, token: a.body["token"].(string)}
}

// account creates an account and logs it in.
func (s *world) account(email, role, password string) (int, *client) {
	s.Helper()
	id := s.admin.ok("POST", "/auth/v4/user", fmt.Sprintf(`{"email":%q,"role":%q,"password":%q}`, email, role, password)).number("id")
	return id, s.login(email, password)
}

// addresses gives cluster 1 a pool of some thousand addresses.
func (s *world) addresses() (network, pool, part int) {
	s.Helper()
	network = s.admin.ok("POST", "/vm/v3/userspace/public/ipnet", `{"name":"10.99.0.0/16","gateway":"10.99.0.1"}`).number("id")
	pool = s.admin.ok("POST", "/ip/v3/userspace/public/ippool", `{"name":"pool"}`).number("id")
	part = s.admin.ok("POST", fmt.Sprintf("/vm/v3/ippool/%d/range", pool), `{"name":"10.99.1.1-10.99.16.1"}`).number("id")
	s.admin.ok("POST", fmt.Sprintf("/vm/v3/ippool/%d/cluster", pool), `{"clusters":[{"id":1,"interface":0}]}`)
	return network, pool, part
}

// complete waits for the end of a task.
func (c *client) complete(task int) {
	c.Helper()
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
		a := c.ok("GET", fmt.Sprintf("/vm/v3/task/%d", task), "")
		switch status := a.body["status"]; status {
		case "complete":
			return
		case "failed":
			c.Fatalf("task %d: %s", task, a.text)
		}
		if time.Now().After(deadline) {
			c.Fatalf("task %d does not end: %s", task, a.text)
		}
	}
}
