package vm_test

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	authpb "slipway.dev/proto/auth/v4"
	ippb "slipway.dev/proto/ip/v3"
	nodepb "slipway.dev/proto/node/v1"
	querypb "slipway.dev/proto/query/v1"
	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/pkg/bus"
	"slipway.dev/pkg/bus/bustest"
	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/identity"
	"slipway.dev/pkg/pg"
	"slipway.dev/pkg/pg/pgtest"
	"slipway.dev/pkg/rpc"
	"slipway.dev/pkg/service"
	"slipway.dev/services/vm"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// world is a vm service with stand-ins for auth, ip and one agent.
type world struct {
	*testing.T
	signer *identity.Signer
	auth   *fakeAuth
	ip     *fakeIP
	pools  *fakePools
	ledger *fakeLedger
	agent  *fakeAgent
	conn   grpc.ClientConnInterface
	svc    *vm.Service
	bus    *bus.Bus
	nodeID int32
	// metrics is the URL of the metrics server that vm has at its next start.
	metrics string
	deps    service.Deps
	stop    func() // the vm that was started last
	// url and schema are where vm's tables are.
	url, schema string

	dialled sync.Map // the nodes that vm dialled, by id, and where
}

// What the one node of a world is called, and the installation.
const (
	nodeUUID = "11111111-2222-3333-4444-555555555555"
	stackID  = "stack-1"
)

func newWorld(t *testing.T) *world {
	t.Helper()
	pub, priv, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{
		T: t, pools: &fakePools{}, signer: identity.NewSigner("k", priv), ip: &fakeIP{
			held: map[string]int{}, claims: map[int32]claim{}, confirmed: map[string]bool{}, names: map[int32]string{},
			fail: map[string]error{}, free: 1000,
		}, ledger: &fakeLedger{},
		auth: &fakeAuth{key: pub}, agent: &fakeAgent{machines: map[string]*fakeMachine{}, fail: map[string]error{}, calls: map[string]int{}},
	}
	log := slog.New(slog.DiscardHandler)
	url, schema := pgtest.Schema(t)
	pool, err := pg.Open(t.Context(), url, schema)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	w.bus, w.url, w.schema = bustest.New(t), url, schema
	auth, ip, agent := rpc.NewServer(log, nil), rpc.NewServer(log, nil), rpc.NewServer(log, nil)
	authpb.RegisterTokenServiceServer(auth, w.auth)
	authpb.RegisterUserServiceServer(auth, &fakeUsers{})
	ippb.RegisterAddressServiceServer(ip, w.ip)
	ippb.RegisterPoolServiceServer(ip, w.pools)
	ippb.RegisterLedgerServiceServer(ip, w.ledger)
	nodepb.RegisterNodeServiceServer(agent, w.agent)
	w.deps = service.Deps{
		Pool: pool, Bus: w.bus, Log: log, Peers: service.Peers{"auth": auth.Local("vm"), "ip": ip.Local("vm")},
		Dial: func(node, endpoint string) (grpc.ClientConnInterface, error) {
			w.dialled.Store(node, endpoint)
			return agent.Local("vm"), nil
		},
	}
	w.start()
	w.register("boot-1")
	return w
}

// start starts vm. A second one is what vm is after a restart, with its predecessor not quite dead.
func (w *world) start() {
	w.Helper()
	svc, err := vm.New(w.Context(), vm.Config{
		Name: "test", Workers: 8, WatchEvery: 50 * time.Millisecond, Cluster: "default", DomainTemplate: "{name}.test",
		MetricsServer: w.metrics,
	}, w.deps)
	if err != nil {
		w.Fatal(err)
	}
	w.svc, w.conn = svc, svc.Server().Local("gateway")
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- svc.Run(ctx) }()
	w.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			w.Errorf("vm ended: %v", err)
		}
	})
	w.Cleanup(w.stop)
}

func (w *world) register(bootID string) {
	w.Helper()
	w.nodeID = w.registerAs(nodeUUID, bootID, "tiny")
}

// registerAs is a sign of life of a node that holds one template.
func (w *world) registerAs(uuid, bootID, template string) int32 {
	w.Helper()
	resp, err := w.sign(func(r *vmpb.RegisterNodeRequest) {
		r.Description.Uuid, r.Description.BootId, r.Description.Templates[0].Name = uuid, bootID, template
	})
	if err != nil {
		w.Error(err)
	}
	return resp.GetId()
}

// sign is a sign of life that differs from the usual one.
func (w *world) sign(differ func(*vmpb.RegisterNodeRequest)) (*vmpb.RegisterNodeResponse, error) {
	r := &vmpb.RegisterNodeRequest{
		Endpoint: "local", Description: &nodepb.Description{
			StackId: stackID, Uuid: nodeUUID, Hostname: "n1", CpuNumber: 4, RamMib: 1280, StorageMib: 100000,
			StorageFreeMib: 100000, Hypervisor: "sim", Accel: "sim", BootId: "boot-1", Bridge: "br0", Dns: []string{"192.0.2.53"},
			Features: []string{
				"disks", "growth", "disk_limits", "bandwidth", "firewall", "cpu_weight", "nesting", "cpu_mode:custom", "cpu_model:Nehalem",
			},
			Templates: []*nodepb.Template{{Name: "tiny", Sha256: "abc", MinRamMib: 128, MinDiskMib: 64}},
		},
	}
	differ(r)
	return vmpb.NewNodeServiceClient(w.svc.Server().LocalNode(r.GetDescription().GetUuid())).RegisterNode(w.Context(), r)
}

// publish emits an event as another service would.
func (w *world) publish(subject string, m proto.Message) {
	w.Helper()
	data, err := proto.Marshal(m)
	if err != nil {
		w.Fatal(err)
	}
	bustest.Publish(w, w.bus, bus.Event{
		ID: uuid.NewString(), Subject: subject, Key: "k", Type: string(proto.MessageName(m)), Time: time.Now(), Data: data,
	})
}

// as is a context of a request by an account.
func (w *world) as(account int32, roles ...string) context.Context {
	w.Helper()
	text, err := w.signer.Sign(identity.Identity{AccountID: account, Roles: roles, Expires: time.Now().Add(time.Hour)})
	if err != nil {
		w.Fatal(err)
	}
	return metadata.AppendToOutgoingContext(w.Context(), identity.MetadataKey, text)
}

func (w *world) admin() context.Context { return w.as(1, identity.RoleAdmin) }

func (w *world) hosts() vmpb.HostServiceClient { return vmpb.NewHostServiceClient(w.conn) }

// wish returns the least that a host needs.
func wish(name string) *vmpb.CreateHostRequest {
	return &vmpb.CreateHostRequest{Name: name, Os: 1, Password: "secret"}
}

func (w *world) create(ctx context.Context, r *vmpb.CreateHostRequest) *vmpb.CreateHostResponse {
	w.Helper()
	resp, err := w.hosts().CreateHost(ctx, r)
	if err != nil {
		w.Fatal(err)
	}
	return resp
}

// task is how the list shows a task.
func (w *world) task(id int32) *vmpb.Task {
	w.Helper()
	resp, err := vmpb.NewTaskServiceClient(w.conn).ListTasks(w.admin(), &vmpb.ListTasksRequest{Query: where("consul_id", fmt.Sprint(id))})
	if err != nil || len(resp.GetList()) != 1 {
		w.Fatalf("task %d: %v %v", id, resp, err)
	}
	return resp.GetList()[0]
}

// done waits for the end of a task and returns its status.
func (w *world) done(id int32) string {
	w.Helper()
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if s := w.task(id).GetStatus(); s != "created" && s != "running" {
			return s
		}
	}
	w.Fatalf("task %d does not end: %v", id, w.task(id))
	return ""
}

// state is the host's state, "" when there is no host.
func (w *world) state(id int32) string {
	w.Helper()
	h, err := w.hosts().GetHost(w.admin(), &vmpb.GetHostRequest{Id: id})
	if f, ok := fault.From(err); ok && f.Reason == fault.NotFound.Reason {
		return ""
	}
	if err != nil {
		w.Fatal(err)
	}
	return h.GetState()
}

// wait waits until what becomes true.
func (w *world) wait(what string, ok func() bool) {
	w.Helper()
	for deadline := time.Now().Add(2 * time.Minute); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			w.Fatalf("waited in vain: %s", what)
		}
	}
}

// nothingLeft checks that machine and addresses of all hosts are gone, and the node's room is given back.
func (w *world) nothingLeft() {
	w.Helper()
	w.agent.mu.Lock()
	machines := len(w.agent.machines)
	w.agent.mu.Unlock()
	w.ip.mu.Lock()
	held := len(w.ip.held)
	w.ip.mu.Unlock()
	n, err := vmpb.NewNodeServiceClient(w.conn).GetNode(w.admin(), &vmpb.GetNodeRequest{Id: w.nodeID})
	if err != nil || machines+held != 0 || n.GetRamMib().GetAllocated()+n.GetStorage().GetAllocatedMib()+n.GetCpu().GetUsed() != 0 {
		w.Errorf("left: %d machines, addresses of %d owners, node %v %v", machines, held, n, err)
	}
}

func where(field, value string) *querypb.Query {
	return &querypb.Query{Where: &querypb.Expr{Kind: &querypb.Expr_Compare{Compare: &querypb.Compare{
		Field: field, Operator: querypb.Operator_OPERATOR_EQ, Value: value,
	}}}}
}

type fakeAuth struct {
	authpb.UnimplementedTokenServiceServer
	key ed25519.PublicKey
}

func (f *fakeAuth) ListKeys(context.Context, *authpb.ListKeysRequest) (*authpb.ListKeysResponse, error) {
	return &authpb.ListKeysResponse{Keys: []*authpb.PublicKey{{Id: "k", Key: f.key}}}, nil
}
