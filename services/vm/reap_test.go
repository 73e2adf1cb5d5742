package vm_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	nodepb "slipway.dev/proto/node/v1"
	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/obs"
	"slipway.dev/pkg/pg"
	"slipway.dev/services/vm"
)

// with changes the fake agent under its lock.
func (f *fakeAgent) with(fn func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fn()
}

func (f *fakeAgent) count(n *int) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return *n
}

// stray puts a machine on the node that vm did not make.
func (f *fakeAgent) stray(id string, s says) {
	f.with(func() {
		f.machines[id] = &fakeMachine{defined: true, state: nodepb.MachineState_MACHINE_STATE_RUNNING, fence: s.fence, says: s}
	})
}

// looks waits until vm has looked at the node some more times, and has taken in what it saw.
func (w *world) looks() {
	w.Helper()
	n := w.agent.count(&w.agent.listed)
	w.wait("vm looks at the node", func() bool { return w.agent.count(&w.agent.listed) >= n+4 })
}

// buried makes a host and deletes it: what is left is a tombstone. It returns what the machine was.
func (w *world) buried(name string) (id string, was says) {
	w.Helper()
	c := w.create(w.admin(), wish(name))
	w.done(c.GetTask())
	h, err := w.hosts().GetHost(w.admin(), &vmpb.GetHostRequest{Id: c.GetId()})
	if err != nil {
		w.Fatal(err)
	}
	op, err := w.hosts().DeleteHost(w.admin(), &vmpb.DeleteHostRequest{Id: c.GetId()})
	if err != nil {
		w.Fatal(err)
	}
	if s := w.done(op.GetTask()); s != "complete" {
		w.Fatalf("delete is %s", s)
	}
	w.agent.with(func() { was = w.agent.gone[h.GetInternalName()].says })
	return h.GetInternalName(), was
}

func (w *world) reapTasks() int32 {
	w.Helper()
	resp, err := vmpb.NewTaskServiceClient(w.conn).ListTasks(w.admin(), &vmpb.ListTasksRequest{Query: where("name", "machine_reap")})
	if err != nil {
		w.Fatal(err)
	}
	return resp.GetSize()
}

func (w *world) exec(sql string) {
	w.Helper()
	if _, err := w.deps.Pool.Exec(w.Context(), sql); err != nil {
		w.Fatal(err)
	}
}

// mistake is a way in which vm, a node or the world between them may be wrong about who is who. naive says that a reconciler
// which removes whatever it does not know does harm then.
type mistake struct {
	name  string
	naive bool
	make  func(w *world)
}

const other = "99999999-2222-3333-4444-555555555555"

var mistakes = []mistake{
	{"hostname changed", false, func(w *world) {
		if _, err := w.sign(func(r *vmpb.RegisterNodeRequest) { r.Description.Hostname = "renamed" }); err != nil {
			w.Error(err)
		}
	}},
	{"node id changed", true, func(w *world) {
		id, was := w.buried("old")
		was.node = other
		w.agent.stray(id, was)
		w.registerAs(other, "boot-1", "tiny")
	}},
	{"empty list", false, func(w *world) {
		w.agent.with(func() { w.agent.list = func(r *nodepb.ListMachinesResponse) { r.Machines = nil } })
		w.looks()
		w.agent.with(func() { w.agent.list = nil })
	}},
	{"list error", false, func(w *world) {
		for _, err := range []error{fault.Unavailable, fault.New(codes.Internal, "INTERNAL", "nonsense")} {
			w.agent.failOn("ListMachines", err)
			w.looks()
		}
		w.agent.failOn("ListMachines", nil)
	}},
	{"other libvirt", true, func(w *world) {
		id, was := w.buried("old")
		was.stack = "another-stack"
		w.agent.stray(id, was)
	}},
	{"database restored from an old backup", true, func(w *world) {
		w.agent.stray(uuid.NewString(), says{stackID, nodeUUID, 5000, 70000})
	}},
	{"another installation", false, func(w *world) {
		_, err := w.sign(func(r *vmpb.RegisterNodeRequest) { r.Description.StackId, r.Description.Uuid = "another-stack", other })
		if f, ok := fault.From(err); !ok || f.Reason != "OTHER_INSTALLATION" {
			w.Errorf("a node of another installation: %v", err)
		}
	}},
	{"restart with nothing in memory", true, func(w *world) {
		w.agent.stray(uuid.NewString(), says{stackID, nodeUUID, 0, 3})
		w.start()
	}},
	{"two agents with one node id", false, func(w *world) {
		_, err := w.sign(func(r *vmpb.RegisterNodeRequest) { r.Endpoint, r.Description.BootId = "copy:1", "boot-of-the-copy" })
		if f, ok := fault.From(err); !ok || f.Reason != "NODE_TWICE" {
			w.Errorf("a copy of the node: %v", err)
		}
	}},
	{"clock jumps", true, func(w *world) {
		id, was := w.buried("old")
		w.agent.stray(id, was)
		minutes := []time.Duration{-10, 10}
		w.agent.with(func() {
			w.agent.list = func(r *nodepb.ListMachinesResponse) {
				for i, m := range r.GetMachines() {
					m.SeenAt = timestamppb.New(time.Now().Add(minutes[i%2] * time.Minute))
				}
			}
		})
	}},
	{"half an upgrade: the agent is older", true, func(w *world) {
		id, _ := w.buried("old")
		w.agent.stray(id, says{})
	}},
	{"renamed bridge and no templates", false, func(w *world) {
		if _, err := w.sign(func(r *vmpb.RegisterNodeRequest) {
			r.Description.Bridge, r.Description.Templates, r.Description.StorageFreeMib = "br9", nil, 0
		}); err != nil {
			w.Error(err)
		}
	}},
}

// harm makes a mistake and returns how many machines were removed for it.
func (m mistake) harm(t *testing.T, naive bool) (removed int) {
	t.Helper()
	w := newWorld(t)
	var hosts []int32
	for i := range 2 {
		c := w.create(w.admin(), wish(fmt.Sprint("host", i)))
		w.done(c.GetTask())
		hosts = append(hosts, c.GetId())
	}
	if m.name == "clock jumps" {
		// The database's own clock went back: everything in it is of the future.
		defer w.exec(`UPDATE tombstone SET created_at = now()`)
		w.exec(`CREATE FUNCTION late() RETURNS trigger LANGUAGE plpgsql AS
			$$BEGIN NEW.created_at = now() + interval '10 minutes'; RETURN NEW; END$$`)
		w.exec(`CREATE TRIGGER late BEFORE INSERT ON tombstone FOR EACH ROW EXECUTE FUNCTION late()`)
	}
	if naive {
		w.svc.Naive()
	}
	m.make(w)
	if naive {
		w.svc.Naive() // of the vm that was started anew
	}
	w.looks()
	if naive && m.naive {
		w.wait("the careless reconciler removes", func() bool { return w.agent.count(&w.agent.reaped) > 0 })
	}
	w.wait("the hosts are seen to run", func() bool { return w.state(hosts[0]) == "active" && w.state(hosts[1]) == "active" })
	if n := w.reapTasks(); !naive && n > 0 {
		t.Errorf("%d removals were begun", n)
	}
	return w.agent.count(&w.agent.reaped)
}

func TestWrongIdentityDestroysNothing(t *testing.T) {
	t.Parallel()
	if len(mistakes) != 12 {
		t.Fatalf("%d mistakes", len(mistakes))
	}
	for _, m := range mistakes {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			if n := m.harm(t, false); n != 0 {
				t.Errorf("%d machines were removed", n)
			}
		})
	}
}

// TestWrongIdentityIsNoticed plants a reconciler without proofs: the test above would see what it does.
func TestWrongIdentityIsNoticed(t *testing.T) {
	t.Parallel()
	for _, m := range mistakes {
		if !m.naive {
			continue
		}
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			if m.harm(t, true) == 0 {
				t.Error("a reconciler without proofs does no harm that is seen")
			}
		})
	}
}

func TestLeftoverIsRemoved(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id, was := w.buried("gone")
	newer := was
	newer.fence += 1_000
	unproven, _ := w.buried("other")
	w.agent.stray(id, was)
	w.agent.stray(unproven, newer)
	w.wait("the leftover is removed", func() bool { return !w.agent.machine(id).defined })
	w.looks()
	if n := w.agent.count(&w.agent.reaped); n != 1 || !w.agent.machine(unproven).defined {
		t.Errorf("%d machines were removed", n)
	}
	resp, err := vmpb.NewNodeServiceClient(w.conn).ListStrangers(w.admin(), &vmpb.ListStrangersRequest{Id: w.nodeID})
	if err != nil || resp.GetSize() != 1 || resp.GetList()[0].GetVerdict() != "newer" || resp.GetList()[0].GetInternalName() != unproven {
		t.Errorf("strangers %v %v", resp, err)
	}
}

func TestBreaker(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	nodes := vmpb.NewNodeServiceClient(w.conn)
	breaker := func() string {
		n, err := nodes.GetNode(w.admin(), &vmpb.GetNodeRequest{Id: w.nodeID})
		if err != nil {
			t.Fatal(err)
		}
		return n.GetBreaker()
	}
	machines := map[string]says{}
	for i := range 8 {
		id, was := w.buried(fmt.Sprint("gone", i))
		machines[id] = was
	}
	for id, was := range machines {
		w.agent.stray(id, was)
	}
	// Machines are counted, not commands: one may be repeated.
	gone := func() (n int) {
		for id := range machines {
			if !w.agent.machine(id).defined {
				n++
			}
		}
		return n
	}
	o := obs.New()
	w.svc.Observe(o)
	for want := range 2 {
		w.wait("the breaker opens", func() bool { return breaker() == "open" })
		w.looks()
		w.wait(fmt.Sprint("what was let through is done, ", 3*(want+1)), func() bool { return gone() >= 3*(want+1) })
		w.looks()
		if n := gone(); n != 3*(want+1) {
			t.Errorf("%d were removed, the breaker open", n)
		}
		metrics := httptest.NewRecorder()
		o.Handler().ServeHTTP(metrics, httptest.NewRequest(http.MethodGet, "/metrics", nil))
		for _, line := range []string{`slipway_reap_breaker_open{node="%d"} 1`, `slipway_reaped_machines{node="%d"} 3`} {
			if line = fmt.Sprintf(line, w.nodeID); !strings.Contains(metrics.Body.String(), line) {
				t.Errorf("no %s in the metrics", line)
			}
		}
		if want == 0 {
			// Deletes that were asked for go on.
			w.buried("wanted")
			if _, err := nodes.ResetBreaker(w.as(9, "@user"), &vmpb.ResetBreakerRequest{Id: w.nodeID}); err == nil {
				t.Error("a user resets the breaker")
			}
			if _, err := nodes.ResetBreaker(w.admin(), &vmpb.ResetBreakerRequest{Id: w.nodeID}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := nodes.ResetBreaker(w.admin(), &vmpb.ResetBreakerRequest{Id: 99}); !errors.Is(asFault(err), fault.NotFound) {
		t.Errorf("a node that is not there: %v", err)
	}
	resp, err := nodes.ListStrangers(w.admin(), &vmpb.ListStrangersRequest{Id: w.nodeID})
	if err != nil || resp.GetSize() != 2 || resp.GetList()[0].GetVerdict() != "breaker" {
		t.Errorf("strangers %v %v", resp, err)
	}
}

func asFault(err error) error {
	if f, ok := fault.From(err); ok {
		return f
	}
	return err
}

// TestNumbersOfAnOldDatabaseGoOn restores a database that is older than the machines: none of their numbers is given again.
func TestNumbersOfAnOldDatabaseGoOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.agent.stray(uuid.NewString(), says{"another-stack", nodeUUID, 900_000, 900_000})
	w.looks()
	if c := w.create(w.admin(), wish("before")); c.GetId() > 100 {
		t.Errorf("a foreign machine moved the ids to %d", c.GetId())
	}
	w.agent.stray(uuid.NewString(), says{stackID, nodeUUID, 5000, 70_000})
	w.looks()
	c := w.create(w.admin(), wish("after"))
	if c.GetId() <= 5000 || w.done(c.GetTask()) != "complete" {
		t.Errorf("host %d, %v", c.GetId(), w.task(c.GetTask()))
	}
	h, err := w.hosts().GetHost(w.admin(), &vmpb.GetHostRequest{Id: c.GetId()})
	if err != nil || w.agent.machine(h.GetInternalName()).fence <= 70_000 {
		t.Errorf("a command carried the fence %d, %v", w.agent.machine(h.GetInternalName()).fence, err)
	}
}

// TestNodesKnowTheTimeline: nodes have heard of a higher timeline than that of vm's database, which a failover has left behind.
// A vm that starts believes them and not the database, and one that runs stops at its next look.
func TestNodesKnowTheTimeline(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	guard := pg.NewGuard()
	pool, err := pg.Open(t.Context(), w.url, w.schema, pg.Guarded(guard))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	w.stop()
	w.deps.Pool, w.deps.Guard = pool, guard
	w.start()
	w.wait("the node hears of the timeline", func() bool {
		w.agent.mu.Lock()
		defer w.agent.mu.Unlock()
		return w.agent.timeline == guard.Seen() && guard.Seen() > 0
	})
	w.agent.with(func() { w.agent.timeline++ })
	w.wait("vm leaves its database", func() bool { return pool.Ping(t.Context()) != nil })
	if _, err := w.hosts().CreateHost(w.admin(), wish("late")); status.Code(err) != codes.Unavailable {
		t.Errorf("a create on a database that was left behind: %v", err)
	}
	d := w.deps
	d.Guard = pg.NewGuard() // a process that starts has seen nothing
	if d.Pool, err = pg.Open(t.Context(), w.url, w.schema, pg.Guarded(d.Guard)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Pool.Close)
	if _, err := vm.New(t.Context(), vm.Config{Name: "second"}, d); err == nil && d.Pool.Ping(t.Context()) == nil {
		t.Error("a vm that starts believes the database")
	}
}
