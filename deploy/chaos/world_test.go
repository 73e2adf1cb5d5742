//go:build e2e

package chaos_test

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go"
	"google.golang.org/grpc"

	ippb "slipway.dev/proto/ip/v3"
	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/deploy/parts"
	"slipway.dev/deploy/stack"
	"slipway.dev/pkg/bus"
	"slipway.dev/pkg/bus/bustest"
	"slipway.dev/pkg/faulty"
	"slipway.dev/pkg/pg/pgtest"
	"slipway.dev/pkg/run"
	"slipway.dev/services/auth"
	"slipway.dev/services/node"
)

func TestMain(m *testing.M) {
	flag.Parse()
	pgtest.Main(m)
}

// long reports whether this is make chaos, which does everything on a large scale.
func long() bool { return os.Getenv("SLIPWAY_CHAOS") != "" }

// scale is n, or more of it in make chaos.
func scale(short, chaos int) int {
	if long() {
		return chaos
	}
	return short
}

var seedFlag = flag.Uint64("seed", 0, "seed of the faults; 0 takes a new one")

// world is all services in the test's process, on a simulated node, each connection through a plan of faults.
type world struct {
	*testing.T
	seed  uint64
	db    *faulty.Plan // PostgreSQL
	wire  *faulty.Plan // NATS
	calls *faulty.Plan // between services, and to the agent
	nats  *bustest.Server

	*stack.Stack
	node  *node.Service
	away  sync.Mutex         // guards gone and rack
	gone  bool               // the agent does not answer
	rack  map[string]*racked // further nodes, by id
	pools map[string]*pgxpool.Pool
	os    int32

	hosts vmpb.HostServiceClient
	tasks vmpb.TaskServiceClient
	fsck  vmpb.FsckServiceClient
}

func newWorld(t *testing.T, rate float64) *world {
	t.Helper()
	seed := *seedFlag
	if seed == 0 {
		seed = rand.Uint64()
	}
	return newWorldOf(t, rate, seed)
}

func newWorldOf(t *testing.T, rate float64, seed uint64) *world {
	t.Helper()
	t.Logf("seed %d: go test -run %s ./chaos -seed %d", seed, t.Name(), seed)
	w := &world{
		// A unit of work is about five round trips to the database, each of which may break.
		T: t, seed: seed, db: faulty.New(seed, rate/5), wire: faulty.New(seed+1, rate), calls: faulty.New(seed+2, rate),
		nats: bustest.NewServer(t), pools: map[string]*pgxpool.Pool{},
	}
	w.build()
	w.network()
	return w
}

// pool is a pool on a schema of its own whose connections are faulty.
func (w *world) pool(schema string) *pgxpool.Pool {
	w.Helper()
	url, name := pgtest.Schema(w.T)
	plain := pgtest.Open(w.T, url, name)
	w.pools[schema] = plain // without faults, for the test itself
	cfg := plain.Config()
	cfg.MaxConns = 16
	cfg.ConnConfig.DialFunc = w.db.Dial((&net.Dialer{}).DialContext)
	pool, err := pgxpool.NewWithConfig(w.Context(), cfg)
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(pool.Close)
	return pool
}

func (w *world) build() {
	w.Helper()
	log := slog.New(slog.DiscardHandler)
	if os.Getenv("SLIPWAY_LOG") != "" {
		log = run.Logger(os.Stderr)
	}
	b, err := bus.Connect(w.Context(), "", bus.WithNATS(nats.InProcessServer(w.wire.InProcess(w.nats))), bus.WithLog(log))
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(b.Close)
	must := func(err error) {
		w.Helper()
		if err != nil {
			w.Fatal(err)
		}
	}
	pools := map[string]*pgxpool.Pool{}
	for _, p := range parts.Services(parts.All()) {
		pools[p.Name] = w.pool(p.Name)
	}
	w.Stack, err = stack.New(w.Context(), stack.Config{
		Pools: pools, Bus: b, Log: log, Dial: w.dial, Wrap: w.wrap,
		Settings: map[string]string{
			"SLIPWAY_AUTH_MASTER_KEY": auth.NewMasterKey(), "SLIPWAY_AUTH_ADMIN_PASSWORD": "chaos-Password-1",
			"SLIPWAY_VM_NAME": "chaos", "SLIPWAY_VM_WATCH_EVERY": "300ms", "SLIPWAY_VM_DOMAIN_TEMPLATE": "{name}.test",
		},
	})
	must(err)
	root := filepath.Join(w.TempDir(), "node")
	nodeID, err := node.Identity(root, "")
	must(err)
	w.node, err = node.New(w.Context(), node.Config{
		Root: root, StackID: uuid.NewString(), Endpoint: node.LocalEndpoint, Templates: template(w.T), Hypervisor: node.Sim,
	}, w.AgentConn(nodeID), log)
	must(err)
	_, err = w.node.Register(w.Context())
	must(err)
	w.hosts = vmpb.NewHostServiceClient(w.Conn("vm", "gateway"))
	w.tasks = vmpb.NewTaskServiceClient(w.Conn("vm", "gateway"))
	w.fsck = vmpb.NewFsckServiceClient(w.Conn("vm", "gateway"))
	ctx, cancel := context.WithCancel(context.WithoutCancel(w.Context()))
	done := make(chan error, 1)
	go func() { done <- run.All(ctx, w.Stack, w.node) }()
	w.Cleanup(func() {
		w.calm()
		cancel()
		if err := <-done; err != nil {
			w.Errorf("a service ended: %v", err)
		}
		_ = w.node.Close()
	})
	list, err := vmpb.NewOSServiceClient(w.Conn("vm", "gateway")).ListOS(w.admin(), &vmpb.ListOSRequest{})
	must(err)
	if len(list.GetList()) != 1 {
		w.Fatalf("OS templates: %v", list)
	}
	w.os = list.GetList()[0].GetId()
}

// wrap makes the calls of vm faulty.
func (w *world) wrap(caller, _ string, conn grpc.ClientConnInterface) grpc.ClientConnInterface {
	if caller != "vm" {
		return conn
	}
	return w.calls.Calls(conn)
}

// dial reaches the agent, unless it is away.
func (w *world) dial(node, _ string) (grpc.ClientConnInterface, error) {
	w.away.Lock()
	defer w.away.Unlock()
	if r := w.rack[node]; r != nil {
		return r, nil
	}
	if w.gone {
		return nil, errors.New("the node is away")
	}
	return w.calls.Calls(w.node.Server().Local("vm")), nil
}

func (w *world) setAway(gone bool) {
	w.away.Lock()
	defer w.away.Unlock()
	w.gone = gone
}

// storm begins the faults, calm ends them.
func (w *world) storm() { w.db.On(); w.wire.On(); w.calls.On() }
func (w *world) calm()  { w.db.Off(); w.wire.Off(); w.calls.Off() }

// template is a directory with one OS: an image of a MiB of nothing.
func template(t *testing.T) string {
	t.Helper()
	dir, img := t.TempDir(), make([]byte, 1<<20)
	text, err := json.Marshal(map[string]any{
		"name": "nothing", "title": "Nothing", "file": "nothing.raw", "format": "raw", "sha256": fmt.Sprintf("%x", sha256.Sum256(img)),
		"min_ram_mib": 64, "min_disk_mib": 1, "os_type": "linux", "os_group": "linux",
	})
	for name, content := range map[string][]byte{"nothing.raw": img, "nothing.json": text} {
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), content, 0o644)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// admin is a context of the first administrator. In a storm even that takes several tries.
func (w *world) admin() context.Context {
	w.Helper()
	for range 100 {
		if ctx, err := w.AsAdmin(w.Context()); err == nil {
			return ctx
		}
	}
	w.Fatal("nobody signs")
	return nil
}

// network makes addresses for the hosts.
func (w *world) network() {
	w.Helper()
	conn := w.Conn("ip", "gateway")
	ctx := w.admin()
	if _, err := ippb.NewNetworkServiceClient(conn).CreateNetwork(ctx, &ippb.CreateNetworkRequest{Name: "10.7.0.0/20"}); err != nil {
		w.Fatal(err)
	}
	pools := ippb.NewPoolServiceClient(conn)
	p, err := pools.CreatePool(ctx, &ippb.CreatePoolRequest{Name: "p"})
	if err != nil {
		w.Fatal(err)
	}
	if _, err := pools.AddRange(ctx, &ippb.AddRangeRequest{Id: p.GetId(), Name: "10.7.0.0/20"}); err != nil {
		w.Fatal(err)
	}
	_, err = vmpb.NewClusterServiceClient(w.Conn("vm", "gateway")).BindPool(ctx, &vmpb.BindPoolRequest{Id: p.GetId(), Clusters: []*vmpb.PoolBinding{{Id: 1}}})
	if err != nil {
		w.Fatal(err)
	}
}

// key is given instead of a password, whose hash costs time that has nothing to do with hosts.
const key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"

func (w *world) create(ctx context.Context, name string) (*vmpb.CreateHostResponse, error) {
	return w.hosts.CreateHost(ctx, &vmpb.CreateHostRequest{Name: name, Os: w.os, SshKeys: []string{key}})
}

// end waits for the end of a task and returns its status.
func (w *world) end(task int32, within time.Duration) string {
	w.Helper()
	for deadline := time.Now().Add(within); ; time.Sleep(10 * time.Millisecond) {
		var status string
		err := w.pools["vm"].QueryRow(w.Context(), `SELECT state FROM job WHERE id = $1`, task).Scan(&status)
		if err != nil {
			w.Fatal(err)
		}
		switch status {
		case "done", "failed", "canceled":
			return status
		}
		if time.Now().After(deadline) {
			w.Fatalf("task %d is %s after %s", task, status, within)
		}
	}
}

// rest waits until a check finds nothing.
func (w *world) rest(within time.Duration) {
	w.Helper()
	var last *vmpb.GetFsckResponse
	for deadline := time.Now().Add(within); ; time.Sleep(50 * time.Millisecond) {
		r, err := w.fsck.GetFsck(w.admin(), &vmpb.GetFsckRequest{SettleMs: 20})
		if err == nil && len(r.GetList())+len(r.GetUnchecked()) == 0 {
			return
		}
		if err == nil {
			last = r
		}
		if time.Now().After(deadline) {
			w.Fatalf("seed %d: not at rest after %s: %v %v", w.seed, within, last, err)
		}
	}
}

// count is one number of a service's database.
func (w *world) count(schema, sql string, args ...any) (n int) {
	w.Helper()
	if err := w.pools[schema].QueryRow(w.Context(), sql, args...).Scan(&n); err != nil {
		w.Fatal(err)
	}
	return n
}

func (w *world) exec(schema, sql string, args ...any) {
	w.Helper()
	if _, err := w.pools[schema].Exec(w.Context(), sql, args...); err != nil {
		w.Fatal(err)
	}
}
