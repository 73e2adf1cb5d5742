// Package access tests who may do what, through real gateways and real services of one process each.
package access

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	authpb "slipway.dev/proto/auth/v4"
	nodepb "slipway.dev/proto/node/v1"
	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/deploy/parts"
	"slipway.dev/deploy/stack"
	"slipway.dev/gateway"
	"slipway.dev/pkg/bus/bustest"
	"slipway.dev/pkg/identity"
	"slipway.dev/pkg/pg/pgtest"
	"slipway.dev/pkg/run"
	"slipway.dev/services/auth"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

const (
	adminEmail = "admin@example.com"
	password   = "correct horse"
)

// replica is one process of an installation: every service and a gateway.
type replica struct {
	*stack.Stack
	gateway *gateway.Gateway
	run     []run.Service
}

// world is an installation: one database, one bus, some replicas.
type world struct {
	*testing.T
	schemas      map[string]string // the names of the services' schemas
	authDB, vmDB *pgxpool.Pool
	masterKey    string
	replicas     []*replica
}

// build makes an installation of n replicas. Nothing runs yet.
func build(t *testing.T, n int) *world {
	t.Helper()
	return buildWrapped(t, n, nil)
}

// buildWrapped is build with connections that wrap changes.
func buildWrapped(t *testing.T, n int, wrap func(caller, service string, conn grpc.ClientConnInterface) grpc.ClientConnInterface) *world {
	t.Helper()
	w := &world{T: t, masterKey: auth.NewMasterKey(), schemas: map[string]string{}}
	bus := bustest.NewServer(t)
	url := ""
	for _, p := range parts.Services(parts.All()) {
		url, w.schemas[p.Name] = pgtest.Schema(t)
	}
	log := slog.New(slog.DiscardHandler)
	for i := range n {
		b, pools := bus.Connect(t), map[string]*pgxpool.Pool{}
		for name, schema := range w.schemas {
			pools[name] = pgtest.Open(t, url, schema)
		}
		w.authDB, w.vmDB = pools["auth"], pools["vm"]
		services, err := stack.New(t.Context(), stack.Config{Pools: pools, Bus: b, Log: log, Wrap: wrap, Settings: map[string]string{
			"SLIPWAY_AUTH_MASTER_KEY": w.masterKey, "SLIPWAY_AUTH_ADMIN_EMAIL": adminEmail, "SLIPWAY_AUTH_ADMIN_PASSWORD": password,
			"SLIPWAY_VM_NAME": fmt.Sprintf("vm-%d", i), "SLIPWAY_VM_WORKERS": "1", "SLIPWAY_VM_WATCH_EVERY": "1h",
			"SLIPWAY_VM_DOMAIN_TEMPLATE": "{name}.test",
		}})
		if err != nil {
			t.Fatal(err)
		}
		r := &replica{Stack: services}
		if r.gateway, err = gateway.New(gateway.Config{Changes: -1}, gateway.Conns(services.Peers("gateway")), log); err != nil {
			t.Fatal(err)
		}
		r.run = []run.Service{services, run.Func(func(ctx context.Context) error { return r.gateway.Watch(ctx, b) })}
		w.replicas = append(w.replicas, r)
	}
	return w
}

// start runs all services until the test ends.
func (w *world) start() {
	w.Helper()
	ctx, stop := context.WithCancel(context.Background())
	var all []run.Service
	for _, r := range w.replicas {
		all = append(all, r.run...)
	}
	done := make(chan error, 1)
	go func() { done <- run.All(ctx, all...) }()
	w.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			w.Errorf("ended: %v", err)
		}
	})
}

// answer is what a client gets.
type answer struct {
	code int
	body string
}

func (a answer) refused() bool {
	return a.code == http.StatusUnauthorized || a.code == http.StatusForbidden
}

// send makes a request at a replica. Headers are "Name: value".
func (w *world) send(replica int, method, path, token, body string, headers ...string) answer {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	for _, h := range headers {
		k, v, _ := strings.Cut(h, ": ")
		r.Header.Add(k, v)
	}
	if token != "" {
		r.Header.Set("X-Xsrf-Token", token)
	}
	rec := httptest.NewRecorder()
	w.replicas[replica].gateway.Handler().ServeHTTP(rec, r)
	return answer{rec.Code, rec.Body.String()}
}

// do is send at the first replica, of a call that must succeed. It returns the answer's fields.
func (w *world) do(method, path, token, body string) map[string]any {
	w.Helper()
	a := w.send(0, method, path, token, body)
	var fields map[string]any
	if err := json.NewDecoder(bytes.NewReader([]byte(a.body))).Decode(&fields); err != nil || a.code >= 300 {
		w.Fatalf("%s %s: %d %s", method, path, a.code, a.body)
	}
	return fields
}

func (w *world) login(email string) string {
	w.Helper()
	return w.do("POST", "/auth/v4/public/token", "", fmt.Sprintf(`{"email":%q,"password":%q}`, email, password))["token"].(string)
}

// user makes an account and returns its id and a session.
func (w *world) user(admin, email, role string) (int, string) {
	w.Helper()
	id := w.do("POST", "/auth/v4/user", admin, fmt.Sprintf(`{"email":%q,"password":%q,"role":%q}`, email, password, role))["id"].(float64)
	return int(id), w.login(email)
}

// identity is what auth signs for a token.
func (w *world) identity(replica int, token string) string {
	w.Helper()
	c := authpb.NewTokenServiceClient(w.replicas[replica].Conn("auth", "gateway"))
	r, err := c.Introspect(w.Context(), &authpb.IntrospectRequest{Token: token})
	if err != nil {
		w.Fatal(err)
	}
	return r.GetIdentity()
}

// withNode registers a node with room and a template at vm.
func (w *world) withNode() {
	w.Helper()
	_, err := vmpb.NewNodeServiceClient(w.replicas[0].AgentConn("11111111-2222-3333-4444-555555555555")).RegisterNode(w.Context(), &vmpb.RegisterNodeRequest{
		Endpoint: "local", Description: &nodepb.Description{
			Uuid: "11111111-2222-3333-4444-555555555555", Hostname: "n1", CpuNumber: 4, RamMib: 8192, StorageMib: 100000,
			StorageFreeMib: 100000, Hypervisor: "sim", Accel: "sim", BootId: "b", Bridge: "br0", Dns: []string{"192.0.2.53"},
			Templates: []*nodepb.Template{{Name: "tiny", Sha256: "abc", MinRamMib: 128, MinDiskMib: 64}},
		},
	})
	if err != nil {
		w.Fatal(err)
	}
}

// withAddresses gives the first cluster a pool.
func (w *world) withAddresses(admin string) {
	w.Helper()
	w.do("POST", "/ip/v3/userspace/public/ipnet", admin, `{"name":"192.0.2.0/24","gateway":"192.0.2.1"}`)
	w.do("POST", "/ip/v3/userspace/public/ippool", admin, `{"name":"p"}`)
	w.do("POST", "/ip/v3/ippool/1/range", admin, `{"name":"192.0.2.10-192.0.2.250"}`)
	w.do("POST", "/vm/v3/ippool/1/cluster", admin, `{"clusters":[{"id":1,"interface":0}]}`)
}

// as is the context of a direct call of a service with this identity.
func (w *world) as(signed string) context.Context {
	return metadata.AppendToOutgoingContext(w.Context(), identity.MetadataKey, signed)
}
