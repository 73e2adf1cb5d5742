package simulate

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	nodepb "slipway.dev/proto/node/v1"

	"slipway.dev/pkg/jobs"
	"slipway.dev/pkg/jobs/jobsim"
	"slipway.dev/pkg/pg"
	"slipway.dev/services/internal/modelnode"
	hosts "slipway.dev/services/vm/internal/host"
	"slipway.dev/services/vm/internal/leftover"
	nodes "slipway.dev/services/vm/internal/node"
	"slipway.dev/services/vm/internal/worker"
)

const (
	stack = "s"
	lease = 15 * time.Second
)

// world is vm with its nodes and ip in simulated time. Runners, workers and their timers are the real ones, each in its
// goroutines; whatever they do to something that others see takes a time of its own, so that no two things happen in one
// moment, and happens under mu. How long it takes follows from the seed and from what it is, not from who came first: this
// is why a seed replays.
type world struct {
	t      *testing.T
	seed   uint64
	start  time.Time
	plant  plant
	mem    *memory
	nodes  []*place
	ip     *addresses
	ipAway *place
	vms    []*process // the last of each name is the one that runs
	calm   bool       // no misfortune any more
	rate   float64    // of misfortune by chance
	script *[]misfortune

	mu     sync.Mutex
	jump   time.Duration // of the database's clock
	log    []line
	broken []string
	guests map[string]*guest
	names  map[string]string // of machines
	begun  []reaped          // removals without a request
	states map[int32]hosts.State
	reset  map[int32]time.Time
	asked  sync.WaitGroup // requests under way

	drawing sync.Mutex
	drawn   map[string]uint64
}

type line struct {
	at   time.Duration
	text string
}

// plant is a mistake that the checks must see.
type plant struct {
	forgetful bool // an agent that dies loses its journal
	fenceless bool // commands of all attempts carry the same number
	deaf      bool // a worker knows neither that its lease ends nor that nodes find it stale, and writes when it has lost it
	naive     bool // what is not known is removed
	amnesia   bool // the breaker does not count what was removed before a restart
	impatient bool // a node that is away is taken to have done what was ordered
	ageless   bool // addresses are given back without their generation
	unordered bool // what was done is taken back in the order in which it was done
	spendy    bool // a host that goes gives nothing back
}

// guest is a host as its client knows it.
type guest struct {
	name    string
	uuid    uuid.UUID
	id      int32 // 0 until the create was answered
	deleted bool  // its delete was answered
	aside   bool  // a backup brought its machine back, or a stranger: nothing is promised of it
}

func (w *world) now() time.Time { return time.Now().Add(w.jump) }

func newWorld(t *testing.T, seed uint64, p plant, nodes int) *world {
	t.Helper()
	w := &world{
		t: t, seed: seed, start: time.Now(), plant: p, guests: map[string]*guest{}, names: map[string]string{},
		reset: map[int32]time.Time{}, states: map[int32]hosts.State{}, drawn: map[string]uint64{}, ipAway: &place{name: "ip", alive: true, script: new([]misfortune)},
		script: new([]misfortune),
	}
	w.mem = newMemory(w.now)
	w.mem.spendy, w.mem.jobs.Bugs = p.spendy, jobsim.Bugs{Unguarded: p.deaf, Unordered: p.unordered, Lease: lease}
	w.mem.said = func(subject, key string) { w.say("%s %s", key, subject) }
	w.mem.begun = w.judgeReap
	w.ip = newAddresses(w)
	for i := range nodes {
		n := &place{name: fmt.Sprint("n", i+1), id: int32(i + 1), alive: true, said: nodeNamed(i + 1), script: w.script, highest: map[string]order{}, removed: map[string]modelnode.Machine{}}
		n.node = modelnode.New(stack, n.said.UUID.String())
		w.nodes = append(w.nodes, n)
		_ = w.happen(func() error { return w.register(n) })
		w.sign(n)
	}
	w.boot("vm1", false)
	w.boot("vm2", false)
	return w
}

// draw is what chance says of one thing, the n-th of this name.
func (w *world) draw(what string) *rand.Rand {
	w.drawing.Lock()
	w.drawn[what]++
	n := w.drawn[what]
	w.drawing.Unlock()
	h := fnv.New64a()
	_, _ = io.WriteString(h, what)
	return rand.New(rand.NewPCG(h.Sum64()^w.seed<<32, n))
}

// between is a duration that nothing else will have.
func between(r *rand.Rand, least, most time.Duration) time.Duration {
	return least + time.Duration(r.Int64N(int64(most-least)))
}

// say is called under mu.
func (w *world) say(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	for id, name := range w.names {
		text = strings.ReplaceAll(text, id, name)
	}
	w.log = append(w.log, line{time.Since(w.start), text})
}

func (w *world) break_(format string, args ...any) {
	w.say("BROKEN: "+format, args...)
	w.broken = append(w.broken, fmt.Sprintf(format, args...))
}

// happen is one thing that others may see.
func (w *world) happen(f func() error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	err := f()
	w.check()
	return err
}

// text is the log, with times as exact as that. Lines of one moment have no order.
func (w *world) text(exact time.Duration) string {
	slices.SortStableFunc(w.log, func(a, b line) int {
		if a.at != b.at {
			return int(a.at - b.at)
		}
		return strings.Compare(a.text, b.text)
	})
	var out strings.Builder
	for _, l := range w.log {
		fmt.Fprintf(&out, "%10s  %s\n", l.at.Round(exact), l.text)
	}
	return out.String()
}

// process is a replica of vm.
type process struct {
	w      *world
	name   string
	boot   string // name and number of the start
	runner *jobs.Runner
	worker *worker.Worker
	end    context.CancelFunc
	dead   chan struct{}
	paused time.Time
	stale  map[int64]bool // numbers of the attempts that heard that they are stale
}

// boot starts a replica.
func (w *world) boot(name string, takeOver bool) {
	ctx, end := context.WithCancel(context.Background())
	p := &process{w: w, name: name, boot: fmt.Sprint(name, "/", len(w.vms)), end: end, dead: make(chan struct{}), stale: map[int64]bool{}}
	log := slog.New(teller{p: p})
	cfg := jobs.Config{
		Name: name, Workers: 64, TakeOver: takeOver, Log: log, Lease: lease,
		Poll: 4*time.Second + 1234567, // never in the moment in which leases are renewed
	}
	if w.plant.deaf {
		cfg.Lease = time.Hour
	}
	p.runner = jobsim.NewRunner(w.mem.jobs, p.intercept, cfg)
	p.worker = worker.New(p.runner, rows{w.mem, p.intercept}.all(), ipClient{p: p}, p.dial, log)
	if w.plant.naive {
		p.worker.Reaper.Classify = func(leftover.Evidence) leftover.Verdict { return leftover.Removed }
	}
	if w.plant.amnesia {
		w.mem.reaped = nil
	}
	w.vms = append(w.vms, p)
	go func() { _ = p.runner.Run(ctx) }()
	go func() { _ = p.worker.Run(ctx, 10*time.Second) }()
}

// vm is the replica of a name that runs, or did last.
func (w *world) vm(name string) *process {
	for _, p := range slices.Backward(w.vms) {
		if p.name == name {
			return p
		}
	}
	return nil
}

func (p *process) gone() bool {
	select {
	case <-p.dead:
		return true
	default:
		return false
	}
}

// kill ends a replica in the middle of whatever it does.
func (p *process) kill() {
	if !p.gone() {
		close(p.dead)
		p.end()
	}
}

var (
	errDead     = errors.New("this process is dead")
	errDatabase = errors.New("the database does not answer")
)

// pass lets time pass for a process: d, and longer while it is paused.
func (p *process) pass(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	case <-p.dead:
	}
	p.w.mu.Lock()
	rest := time.Until(p.paused)
	p.w.mu.Unlock()
	if rest > 0 && !p.gone() {
		time.Sleep(rest + d)
	}
	if p.gone() {
		return errDead
	}
	return ctx.Err()
}

// intercept delays a call to the database, and may lose it or its answer.
func (p *process) intercept(ctx context.Context, op string, do func() error) error {
	r := p.w.draw(p.boot + " " + op)
	if err := p.pass(ctx, between(r, time.Millisecond, 5*time.Millisecond)); err != nil {
		return err
	}
	m := p.w.chance(r, 20)
	if m.lost {
		return errDatabase
	}
	if *verbose {
		p.w.mu.Lock()
		p.w.say("%s %s", p.boot, op)
		p.w.mu.Unlock()
	}
	if err := p.w.happen(do); err != nil {
		return errors.Join(err, p.pass(context.WithoutCancel(ctx), between(r, time.Millisecond, 5*time.Millisecond)))
	}
	if err := p.pass(ctx, between(r, time.Millisecond, 5*time.Millisecond)); err != nil || m.mute {
		return pg.ErrUnknownCommit
	}
	return nil
}

// misfortune is what becomes of one message.
type misfortune struct {
	lost   bool          // it never arrives
	mute   bool          // it arrives, its answer does not
	broken bool          // it arrives, and the answer is an error
	twice  time.Duration // it arrives another time, so much later
	delay  time.Duration // it arrives so much later
}

// chance is misfortune, so many times rarer than usual.
func (w *world) chance(r *rand.Rand, rarer int) (m misfortune) {
	if w.calm || r.Float64() >= w.rate/float64(rarer) {
		return m
	}
	late := between(r, time.Second, 60*time.Second)
	return []misfortune{{lost: true}, {mute: true}, {broken: true}, {twice: late}, {delay: late}}[r.IntN(5)]
}

// place is where messages go: a node with its agent, or ip.
type place struct {
	name   string
	id     int32
	alive  bool
	cut    time.Time // until then nothing passes
	node   *modelnode.Node
	said   nodes.Description
	boots  int
	backup *modelnode.Node
	script *[]misfortune // of the next messages; nodes share one
	signs  int           // the present series of signs of life

	highest map[string]order             // of the commands that a machine obeyed
	removed map[string]modelnode.Machine // what was there before it was removed
}

var errAway = errors.New("nobody listens there")

// send carries a message from a process and its answer back. A message outlives who sent it.
func send[A any](ctx context.Context, p *process, to *place, what string, do func() (A, error)) (A, error) {
	w := p.w
	if p.gone() {
		return *new(A), errDead
	}
	r := w.draw(p.boot + " " + to.name + " " + what)
	w.mu.Lock()
	m := w.chance(r, 1)
	if to == w.ipAway {
		m.twice = 0 // a request to ip comes late or not at all, but not twice
	}
	listed := strings.HasPrefix(what, "List")
	if s := to.script; len(*s) > 0 && !listed {
		m, *s = (*s)[0], (*s)[1:]
	}
	if time.Now().Before(to.cut) {
		m = misfortune{lost: true}
	}
	if m.lost && !listed {
		w.say("%s to %s: %s is lost", p.name, to.name, what)
	}
	w.mu.Unlock()
	type answer struct {
		a   A
		err error
	}
	got := make(chan answer, 1)
	arrive := func(back bool) {
		var x answer
		_ = w.happen(func() error {
			if x.err = errAway; to.alive {
				x.a, x.err = do()
			} else if w.plant.impatient && !listed {
				x.err = nil
			}
			if !listed {
				w.say("%s: %s%s", to.name, what, ending(x.err))
				w.mem.changed = true
			}
			return nil
		})
		if m.broken {
			x.err = errAway
		}
		if back && !m.mute {
			time.AfterFunc(between(r, time.Millisecond, 20*time.Millisecond), func() { got <- x })
		}
	}
	if !m.lost {
		time.AfterFunc(m.delay+between(r, time.Millisecond, 20*time.Millisecond), func() { arrive(true) })
	}
	if m.twice > 0 {
		time.AfterFunc(m.twice, func() { arrive(false) })
	}
	var x answer
	select {
	case x = <-got:
	case <-ctx.Done():
		x.err = ctx.Err()
	case <-p.dead:
		x.err = errDead
	}
	if err := p.pass(context.WithoutCancel(ctx), between(r, time.Microsecond, time.Millisecond)); err != nil {
		x.err = err
	}
	return x.a, x.err
}

func ending(err error) string {
	if err != nil {
		return ": " + reason(err)
	}
	return ""
}

func (p *process) dial(id uuid.UUID, endpoint string) (nodepb.NodeServiceClient, error) {
	for _, n := range p.w.nodes {
		if n.name == endpoint && n.said.UUID == id {
			return agentClient{p: p, to: n}, nil
		}
	}
	return nil, errAway
}

// sign gives signs of life of a node, as long as its agent lives.
func (w *world) sign(n *place) {
	n.signs++
	series, r := n.signs, w.draw("signs of "+n.name)
	var next func()
	next = func() {
		_ = w.happen(func() error {
			if !n.alive || n.signs != series || !time.Now().After(n.cut) {
				return nil
			}
			return w.register(n)
		})
		if n.alive && n.signs == series {
			time.AfterFunc(between(r, 9*time.Second, 10*time.Second), next)
		}
	}
	time.AfterFunc(between(r, time.Millisecond, time.Second), next)
}

// register is what vm does with a sign of life (server.RegisterNode).
func (w *world) register(n *place) error {
	n.said.BootID = fmt.Sprint(n.boots)
	return w.mem.jobs.Do(func(in *jobsim.Tx) error {
		ctx, t := context.Background(), tx{memory: w.mem, in: in}
		id, rebooted, err := t.RegisterNode(ctx, n.said)
		if err != nil || !rebooted {
			return err
		}
		w.say("%s was started anew", n.name)
		hosts, err := t.WantedHosts(ctx, id)
		for _, id := range hosts {
			h := w.mem.hosts[id]
			if _, err := t.Enqueue(ctx, job("host_start", &h.Host)); err != nil {
				return err
			}
		}
		return err
	})
}

// teller writes what vm logs, in the name of the process.
type teller struct {
	slog.Handler
	p *process
}

func (teller) Enabled(context.Context, slog.Level) bool { return true }

func (h teller) Handle(_ context.Context, r slog.Record) error {
	if h.p.gone() || r.Message == "watch nodes" || r.Message == "a node answers again" { // the states of hosts show that
		return nil
	}
	var out strings.Builder
	r.Attrs(func(a slog.Attr) bool {
		switch a.Key {
		case "took", "request", "stack":
		case "err":
			fmt.Fprintf(&out, " (%s)", strings.ReplaceAll(a.Value.String(), "\n", "; "))
		default:
			fmt.Fprintf(&out, " %v", a.Value)
		}
		return true
	})
	h.p.w.mu.Lock()
	defer h.p.w.mu.Unlock()
	h.p.w.say("%s: %s%s", h.p.name, r.Message, out.String())
	return nil
}
