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
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	authpb "slipway.dev/proto/auth/v4"
	nodepb "slipway.dev/proto/node/v1"
	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/gateway"
	"slipway.dev/pkg/bus/bustest"
	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/identity"
	"slipway.dev/pkg/pg/pgtest"
	"slipway.dev/pkg/run"
	"slipway.dev/pkg/service"
	"slipway.dev/services/auth"
	"slipway.dev/services/ip"
	"slipway.dev/services/vm"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

const (
	adminEmail = "admin@example.com"
	password   = "correct horse"
)

// replica is one process of an installation: every service and a gateway.
type replica struct {
	auth    *auth.Service
	ip      *ip.Service
	vm      *vm.Service
	gateway *gateway.Gateway
	run     []run.Service
}

// world is an installation: one database, one bus, some replicas.
type world struct {
	*testing.T
	authDB, vmDB     *pgxpool.Pool
	authName, vmName string // of their schemas
	masterKey        string
	replicas         []*replica
}

// build makes an installation of n replicas. Nothing runs yet.
func build(t *testing.T, n int) *world {
	t.Helper()
	w := &world{T: t, masterKey: auth.NewMasterKey()}
	bus := bustest.NewServer(t)
	url, authSchema := pgtest.Schema(t)
	_, vmSchema := pgtest.Schema(t)
	_, ipSchema := pgtest.Schema(t)
	w.authName, w.vmName = authSchema, vmSchema
	log := slog.New(slog.DiscardHandler)
	for i := range n {
		b := bus.Connect(t)
		pools := [3]*pgxpool.Pool{}
		for j, schema := range []string{authSchema, vmSchema, ipSchema} {
			pools[j] = pgtest.Open(t, url, schema)
		}
		w.authDB, w.vmDB = pools[0], pools[1]
		r := &replica{}
		var err error
		if r.auth, err = auth.New(t.Context(), auth.Config{MasterKey: w.masterKey, AdminEmail: adminEmail, AdminPassword: password},
			service.Deps{Pool: pools[0], Bus: b, Log: log}); err != nil {
			t.Fatal(err)
		}
		if r.ip, err = ip.New(t.Context(), ip.Config{}, service.Deps{
			Pool: pools[2], Bus: b, Log: log, Peers: service.Peers{"auth": r.auth.Server().Local("ip")},
		}); err != nil {
			t.Fatal(err)
		}
		if r.vm, err = vm.New(t.Context(), vm.Config{
			Name: fmt.Sprintf("vm-%d", i), Workers: 1, WatchEvery: time.Hour, Cluster: "default", DomainTemplate: "{name}.test",
		}, service.Deps{
			Pool: pools[1], Bus: b, Log: log,
			Peers: service.Peers{"auth": r.auth.Server().Local("vm"), "ip": r.ip.Server().Local("vm")},
			Dial:  func(string) (grpc.ClientConnInterface, error) { return nil, fault.Unavailable },
		}); err != nil {
			t.Fatal(err)
		}
		w.replicas = append(w.replicas, r)
		if r.gateway, err = gateway.New(gateway.Config{}, gateway.Conns{
			"auth": r.auth.Server().Local("gateway"), "vm": r.vm.Server().Local("gateway"), "ip": r.ip.Server().Local("gateway"),
		}, log); err != nil {
			t.Fatal(err)
		}
		r.run = []run.Service{r.auth, r.ip, r.vm, run.Func(func(ctx context.Context) error { return r.gateway.Watch(ctx, b) })}
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
	c := authpb.NewTokenServiceClient(w.replicas[replica].auth.Server().Local("gateway"))
	r, err := c.Introspect(w.Context(), &authpb.IntrospectRequest{Token: token})
	if err != nil {
		w.Fatal(err)
	}
	return r.GetIdentity()
}

// withNode tells vm of a node with room and a template.
func (w *world) withNode() {
	w.Helper()
	_, err := vmpb.NewNodeServiceClient(w.replicas[0].vm.Server().Local("node")).RegisterNode(w.Context(), &vmpb.RegisterNodeRequest{
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
