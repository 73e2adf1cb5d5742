package simulate

import (
	"cmp"
	"container/heap"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	nodepb "slipway.dev/proto/node/v1"

	"slipway.dev/pkg/fetch"
	"slipway.dev/services/node/internal/agent"
	"slipway.dev/services/node/internal/hyper"
	"slipway.dev/services/node/internal/journal"
	"slipway.dev/services/node/internal/sim"
)

// world is one node and the control plane that commands it, in simulated time and one goroutine: agent, journal and
// simulated hypervisor are the real ones; the workers are a model of what vm and its jobs promise.
type world struct {
	t       *testing.T
	start   time.Time
	now     time.Time
	queue   events
	seq     int
	random  *rand.Rand
	log     []string
	broken  []string // promises that were not kept
	root    string
	driver  *sim.Driver
	agent   *agent.Agent // nil while the node's agent is dead
	hosts   map[string]*host
	order   []*host
	fence   int64
	workers []*worker
	net     network
	plant   plant
}

// plant is a bug that the checks must see.
type plant struct {
	forget   bool // the journal is lost when the agent dies
	unfenced bool // commands of all attempts carry the same number
	stepless bool // those of one attempt do
}

// host is a machine as the control plane wants it.
type host struct {
	name    string
	id      uuid.UUID
	wish    string // active, stopped, absent
	jobs    []*job
	highest journal.Order // of the commands that did something
	gone    bool          // the delete is done: nothing may come back
}

type event struct {
	at  time.Time
	seq int
	run func()
}

type events []event

func (e events) Len() int           { return len(e) }
func (e events) Less(i, j int) bool { return cmp.Or(e[i].at.Compare(e[j].at), e[i].seq-e[j].seq) < 0 }
func (e events) Swap(i, j int)      { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)        { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	last := (*e)[len(*e)-1]
	*e = (*e)[:len(*e)-1]
	return last
}

func newWorld(t *testing.T, seed uint64, p plant) *world {
	t.Helper()
	// Memory, where there is such a file system: a journal is flushed with every command.
	dir := "/dev/shm"
	if _, err := os.Stat(dir); err != nil {
		dir = ""
	}
	root, err := os.MkdirTemp(dir, "slipway-simulate-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(root) })
	start := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	w := &world{
		t: t, start: start, now: start, random: rand.New(rand.NewPCG(seed, seed)), root: root, hosts: map[string]*host{}, plant: p,
	}
	if w.driver, err = sim.Open(sim.Config{StackID: "s", NodeID: "n", Now: func() time.Time { return w.now }}); err != nil {
		t.Fatal(err)
	}
	if err := w.driver.EnsureNetwork(t.Context(), hyper.Network{Name: "br0"}); err != nil {
		t.Fatal(err)
	}
	w.net.w = w
	w.wake()
	for _, name := range []string{"w1", "w2"} {
		w.workers = append(w.workers, &worker{w: w, name: name})
	}
	w.after(time.Second, w.tick)
	return w
}

// wake starts the agent over what is on its disk.
func (w *world) wake() {
	j, err := journal.Open(w.root, func() time.Time { return w.now })
	if err != nil {
		w.t.Fatal(err)
	}
	w.agent = agent.New("s", "n", w.driver, j, nil, "", fetch.Config{})
}

// kill ends the agent; machines outlive it.
func (w *world) kill() {
	w.say("the agent dies")
	w.agent = nil
	if w.plant.forget {
		if err := os.Remove(filepath.Join(w.root, "fences.log")); err != nil {
			w.t.Fatal(err)
		}
	}
}

func (w *world) after(d time.Duration, run func()) {
	w.seq++
	heap.Push(&w.queue, event{w.now.Add(d), w.seq, run})
}

func (w *world) say(format string, args ...any) {
	w.log = append(w.log, fmt.Sprintf("%8s  %s", w.now.Sub(w.start).Round(time.Millisecond), fmt.Sprintf(format, args...)))
}

func (w *world) break_(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	w.say("BROKEN: %s", text)
	w.broken = append(w.broken, text)
}

// run goes on until then.
func (w *world) run(until time.Duration) {
	end := w.start.Add(until)
	for len(w.queue) > 0 && !w.queue[0].at.After(end) {
		e := heap.Pop(&w.queue).(event)
		w.now = e.at
		e.run()
		w.look()
	}
	w.now = end
}

// look checks what must hold at every moment: who was deleted does not come back.
func (w *world) look() {
	for _, h := range w.order {
		if h.gone && w.power(h) != hyper.Absent {
			w.break_("%s came back after its deletion", h.name)
			h.gone = false
		}
	}
}

func (w *world) power(h *host) hyper.Power {
	s, err := w.driver.State(w.t.Context(), h.id)
	if err != nil {
		w.t.Fatal(err)
	}
	return s.Power
}

// settle waits, an hour at most, until all jobs are done, and checks that the world is as it was wished.
func (w *world) settle() {
	w.net.calm = true
	for range 60 {
		if !slices.ContainsFunc(w.order, (*host).busy) {
			break
		}
		w.run(w.now.Sub(w.start) + time.Minute)
	}
	w.run(w.now.Sub(w.start) + 5*time.Minute) // what is still on its way arrives
	want := map[string]hyper.Power{"active": hyper.Running, "stopped": hyper.Off, "absent": hyper.Absent}
	for _, h := range w.order {
		if h.busy() {
			w.break_("%s has a job that does not end", h.name)
		} else if got := w.power(h); got != want[h.wish] {
			w.break_("%s shall be %s and is %s", h.name, h.wish, got)
		}
	}
	w.say("settled")
}

// command carries a step of a job out on the agent, as vm's worker asks for it.
func (w *world) command(h *host, step string, o journal.Order) error {
	ctx, c := w.t.Context(), &nodepb.Command{Machine: h.id.String(), Fence: o.Fence, Step: o.Step}
	d := &nodepb.Disk{Name: "disk0", SizeMib: 64}
	links := []*nodepb.Link{{Mac: "52:54:00:00:00:01", Network: "br0"}}
	var err error
	switch step {
	case "disk":
		_, err = w.agent.EnsureDisk(ctx, &nodepb.EnsureDiskRequest{Command: c, Disk: d})
	case "seed":
		_, err = w.agent.EnsureSeed(ctx, &nodepb.EnsureSeedRequest{Command: c, Hostname: h.name, Links: links})
	case "define":
		_, err = w.agent.DefineMachine(ctx, &nodepb.DefineMachineRequest{Command: c, Title: h.name, CpuNumber: 1, RamMib: 128, Disks: []*nodepb.Disk{d}, Links: links})
	case "start":
		_, err = w.agent.StartMachine(ctx, &nodepb.StartMachineRequest{Command: c})
	case "stop":
		_, err = w.agent.StopMachine(ctx, &nodepb.StopMachineRequest{Command: c, Force: true})
	case "remove":
		_, err = w.agent.RemoveMachine(ctx, &nodepb.RemoveMachineRequest{Command: c})
	}
	return err
}
