// Package simulate runs vm's core in simulated time: scripted misfortune with the expected log, and misfortune by chance that
// can be replayed by its seed. Workers, the runner of jobs and the watch of the nodes are the real ones; the store is a memory
// that is held to the tables, the agent a model that is held to the real one; ip and requests are models.
package simulate

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"slipway.dev/pkg/jobs"
	"slipway.dev/pkg/jobs/jobsim"
	"slipway.dev/services/internal/modelnode"
)

var (
	update  = flag.Bool("update", false, "rewrite the logs in testdata")
	only    = flag.Uint64("seed", 0, "run this seed alone and print its log")
	verbose = flag.Bool("verbose", false, "log what is done to the database, too")
	seeds   = flag.Int("seeds", 500, "how many seeds to run")
	first   = flag.Uint64("first", 1, "the first of them")
)

const mark = "---\n"

// TestScenarios replays testdata: above the mark what happens and when, below it the log.
func TestScenarios(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) < 40 {
		t.Fatalf("%d scenarios, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			script, want, _ := strings.Cut(string(text), mark)
			got, broken := scenario(t, script, plant{})
			if len(broken) > 0 {
				t.Errorf("broken: %q\n%s", broken, got)
			}
			if *update {
				if err := os.WriteFile(file, []byte(script+mark+got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != want {
				t.Errorf("the log differs (run with -update and read the diff):\n%s", got)
			}
		})
	}
}

func scenario(t *testing.T, script string, p plant) (got string, broken []string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w, last := newWorld(t, 1, p, 2), time.Duration(0)
		for line := range strings.SplitSeq(script, "\n") {
			words := strings.Fields(line)
			if len(words) < 2 || strings.HasPrefix(line, "#") {
				continue
			}
			last = w.duration(words[0])
			w.at(last)
			w.do(words[1], append(words[2:], "", ""))
		}
		w.at(last + 10*time.Minute)
		w.settle()
		got, broken = w.text(time.Millisecond), w.broken
	})
	return got, broken
}

// at waits until then, and a little: nothing else happens in that moment.
func (w *world) at(d time.Duration) {
	time.Sleep(time.Until(w.start.Add(d + between(w.draw("script"), time.Microsecond, time.Millisecond))))
}

func (w *world) duration(s string) time.Duration {
	d, err := time.ParseDuration(s)
	if err != nil {
		w.t.Fatal(err)
	}
	return d
}

// do is one line of a script.
func (w *world) do(verb string, args []string) {
	switch verb {
	case "create", "start", "stop", "restart", "delete", "addip", "delip":
		w.ask(w.awake(args[1]), verb, args[0])
	case "vm1", "vm2":
		w.replica(verb, args[0], args[1])
	case "wait":
	default:
		_ = w.happen(func() error {
			w.mem.changed = true
			w.say("%s", strings.TrimSpace(verb+" "+strings.Join(args, " ")))
			w.outside(verb, args)
			return nil
		})
	}
}

// awake is the replica of this name, or one that runs.
func (w *world) awake(name string) *process {
	for _, name := range []string{name, "vm1", "vm2"} {
		if p := w.vm(name); p != nil && !p.gone() {
			return p
		}
	}
	return w.vm("vm1")
}

// replica is what becomes of a replica of vm.
func (w *world) replica(name, what, long string) {
	_ = w.happen(func() error {
		w.say("%s %s %s", name, what, long)
		switch p := w.vm(name); what {
		case "dies":
			p.kill()
		case "starts", "takes": // its jobs over, from its predecessor that is surely dead
			p.kill()
			w.boot(name, what == "takes")
		case "pauses":
			p.paused = time.Now().Add(w.duration(long))
		default:
			w.t.Fatalf("unknown: %s %s", name, what)
		}
		return nil
	})
}

// outside is what becomes of nodes, messages and clocks.
func (w *world) outside(verb string, args []string) {
	switch verb {
	case "lose", "mute", "broken", "pass", "delay", "twice":
		w.message(w.script, verb, args[0])
	case "clock":
		w.jump += w.duration(args[0])
	case "ip":
		if args[0] == "cut" {
			w.ipAway.cut = time.Now().Add(w.duration(args[1]))
		} else {
			w.message(w.ipAway.script, args[0], args[1])
		}
	case "n1", "n2":
		w.node(w.nodes[verb[1]-'1'], args[0], args[1])
	default:
		w.t.Fatalf("unknown: %s", verb)
	}
}

// message says what becomes of the next ones.
func (w *world) message(script *[]misfortune, verb, arg string) {
	var m misfortune
	n := 1
	switch verb {
	case "delay":
		m.delay = w.duration(arg)
	case "twice":
		m.twice = w.duration(arg)
	default:
		n, _ = strconv.Atoi(arg)
		m = misfortune{lost: verb == "lose", mute: verb == "mute", broken: verb == "broken"}
	}
	*script = append(*script, slices.Repeat([]misfortune{m}, max(n, 1))...)
}

func (w *world) node(n *place, what, arg string) {
	switch what {
	case "dies":
		n.alive = false
		if w.plant.forgetful {
			n.node.Forget()
		}
	case "starts":
		n.alive = true
		w.sign(n)
	case "reboots":
		n.boots++
		n.node.PowerCut()
		n.alive = true
		w.sign(n)
	case "cut":
		n.cut = time.Now().Add(w.duration(arg))
	case "backup":
		n.backup = n.node.Backup()
	case "restores":
		w.restore(n)
	case "revives": // what was removed is there again, out of a backup
		count, _ := strconv.Atoi(arg)
		w.revive(n, count)
	case "stray":
		w.stray(n, arg, modelnode.Machine{Defined: true, Running: true, StackID: stack, NodeID: n.node.ID, HostID: 900, Fence: 7})
	case "foreign":
		w.stray(n, arg, modelnode.Machine{Defined: true, Running: true, StackID: "another", NodeID: n.node.ID, HostID: 900, Fence: 7})
	case "reset":
		w.reset[n.id] = w.now()
		_ = w.mem.jobs.Do(func(in *jobsim.Tx) error { return tx{memory: w.mem, in: in}.ResetBreaker(w.t.Context(), n.id) })
	default:
		w.t.Fatalf("unknown: %s %s", n.name, what)
	}
}

// settle mends everything, waits until all is quiet, and checks what must hold then.
func (w *world) settle() {
	w.mend()
	w.asked.Wait()
	back := max(0, -w.jump)
	for range 180 {
		time.Sleep(30 * time.Second)
		if !slices.ContainsFunc(w.mem.jobs.Jobs(), func(j jobs.Job) bool { return !j.State.Finished() }) {
			break
		}
	}
	time.Sleep(90*time.Second + back)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.rest()
	for _, id := range sorted(w.mem.hosts) {
		h := w.mem.hosts[id]
		w.say("at rest: %s is %s on n%d with %d addresses", h.Name, h.State, h.NodeID, len(h.addrs))
	}
	for _, p := range w.vms {
		p.kill()
	}
}

// mend starts what is dead, and ends all misfortune.
func (w *world) mend() {
	_ = w.happen(func() error {
		w.calm, *w.script, *w.ipAway.script = true, nil, nil
		for _, name := range []string{"vm1", "vm2"} {
			if w.vm(name).gone() {
				w.say("%s starts", name)
				w.boot(name, false)
			}
		}
		for _, n := range w.nodes {
			n.cut = time.Time{}
			if !n.alive {
				w.say("%s starts", n.name)
				w.node(n, "starts", "")
			}
		}
		return nil
	})
}

// chance plays some simulated minutes of requests and misfortune that follow from the seed alone.
func chance(t *testing.T, seed uint64, p plant) (log string, broken []string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, seed, p, 2)
		w.rate = 0.2
		r, at, made := w.draw("what happens"), 2*time.Second, 0
		for at < 100*time.Second {
			at += time.Duration(r.Int64N(int64(4 * time.Second)))
			w.at(at)
			w.something(r.IntN(30), r.IntN(2), r.IntN(4), &made)
			synctest.Wait() // what began in this moment has met the world as it was
		}
		w.settle()
		log, broken = w.text(1), w.broken
	})
	return log, broken
}

// something happens: mostly a request.
func (w *world) something(what, which, other int, made *int) {
	vm, n := fmt.Sprint("vm", which+1), w.nodes[which]
	name, more := w.known(other)
	switch {
	case what < 4 || name == "":
		w.ask(w.awake(vm), "create", guestName(*made))
		*made++
	case what < 20:
		verbs := []string{"start", "start", "stop", "stop", "restart", "delete", "delete", "delete", "addip", "addip"}
		for len(verbs) < 16 {
			verbs = append(verbs, map[bool]string{true: "delip", false: "addip"}[more])
		}
		w.ask(w.awake(vm), verbs[what-4], name)
	case what == 20:
		w.busy(vm, name)
		w.do(vm, []string{"dies", ""})
		w.later(other, func() { w.do(vm, []string{"starts", ""}) })
	case what == 21:
		w.do(vm, []string{[]string{"starts", "takes"}[other%2], ""})
	case what == 22:
		w.busy(vm, name)
		w.do(vm, []string{"pauses", []string{"5s", "20s", "40s", "60s"}[other]})
	case what == 23 && n.alive:
		w.do(n.name, []string{"dies", ""})
		w.later(other, func() { w.do(n.name, []string{"starts", ""}) })
	case what == 24 && n.alive:
		w.do(n.name, []string{"reboots", ""})
	case what == 25 && other < 2:
		w.do("clock", []string{[]string{"20s", "-20s", "2m", "-2m"}[2*other+which]})
	case what == 25:
		w.do(n.name, []string{"cut", []string{"5s", "20s", "40s", "90s"}[other]})
	case what == 26 && other == 0 && n.backup == nil:
		w.do(n.name, []string{"backup", ""})
	case what == 26 && other == 1 && n.backup != nil:
		w.do(n.name, []string{"restores", ""})
	case what == 26 && other == 2:
		w.do(n.name, []string{"stray", fmt.Sprint("stray", *made, n.name)})
	case what == 27 || what == 28:
		w.do(n.name, []string{"revives", fmt.Sprint(1 + other)})
	case what == 29:
		w.do("ip", []string{"cut", "20s"})
	}
}

// busy gives a replica something to do, and waits until it is at it.
func (w *world) busy(vm, name string) {
	w.ask(w.awake(vm), "restart", name)
	time.Sleep(between(w.draw("busy"), 0, 200*time.Millisecond))
}

// known is one of the last hosts that a client sees, "" for none, and whether it has more addresses than its main one.
func (w *world) known(n int) (name string, more bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	ids := sorted(w.mem.hosts)
	if len(ids) == 0 {
		return "", false
	}
	h := w.mem.hosts[ids[len(ids)-1-n%len(ids)]]
	return h.Name, len(h.addrs) > 1
}

// later has what died start again.
func (w *world) later(n int, start func()) {
	after := []time.Duration{time.Second, 5 * time.Second, 20 * time.Second, time.Minute}[n]
	time.AfterFunc(after+between(w.draw("again"), 0, time.Second), func() {
		if !w.calm {
			start()
		}
	})
}

func guestName(n int) string { return string(rune('a'+n%26)) + strings.Repeat("'", n/26) }

// each calls f for all seeds, half of them in each of two goroutines.
func each(t *testing.T, f func(t *testing.T, seed uint64)) {
	t.Helper()
	for half := range 2 {
		t.Run(fmt.Sprint("half ", half), func(t *testing.T) {
			t.Parallel()
			for i := half; i < *seeds; i += 2 {
				f(t, *first+uint64(i))
			}
		})
	}
}

func TestChance(t *testing.T) {
	t.Parallel()
	if *only != 0 {
		log, broken := chance(t, *only, plant{})
		t.Errorf("seed %d, broken: %q\n%s", *only, broken, log)
		if again, _ := chance(t, *only, plant{}); again != log {
			t.Errorf("it does not replay: %s", difference(log, again))
		}
		return
	}
	var lost, retried, reaped, undone atomic.Int64
	t.Cleanup(func() {
		t.Logf("%d leases were lost, %d attempts repeated, %d jobs taken back, %d leftovers removed", lost.Load(), retried.Load(), undone.Load(), reaped.Load())
		for _, n := range []*atomic.Int64{&lost, &retried, &undone} {
			if n.Load() < int64(*seeds)/20 {
				t.Errorf("too little misfortune in %d seeds", *seeds)
			}
		}
	})
	each(t, func(t *testing.T, seed uint64) {
		log, broken := chance(t, seed, plant{})
		if again, _ := chance(t, seed, plant{}); again != log {
			t.Errorf("seed %d does not replay: %s", seed, difference(log, again))
		}
		if len(broken) > 0 {
			t.Errorf("seed %d (go test -run 'TestChance$' -args -seed %d): %q", seed, seed, broken)
		}
		lost.Add(int64(strings.Count(log, " lost (")))
		retried.Add(int64(strings.Count(log, " retry (")))
		undone.Add(int64(strings.Count(log, " failed (") + strings.Count(log, " canceled (")))
		reaped.Add(int64(strings.Count(log, ": reap ")))
	})
}

// difference is the first line that differs.
func difference(a, b string) string {
	x, y := strings.Split(a, "\n"), strings.Split(b, "\n")
	for i := range min(len(x), len(y)) {
		if x[i] != y[i] {
			from, to := max(0, i-8), i+3
			return fmt.Sprintf("\n%s\nand\n%s", strings.Join(x[from:min(to, len(x))], "\n"), strings.Join(y[from:min(to, len(y))], "\n"))
		}
	}
	return "one is longer"
}

// TestChanceIsSeen plants mistakes; some seed must see each.
func TestChanceIsSeen(t *testing.T) {
	t.Parallel()
	for _, p := range []plant{
		{forgetful: true},
		{fenceless: true},
		{deaf: true},
		{naive: true},
		{amnesia: true},
		{impatient: true},
		{unordered: true},
		{spendy: true},
	} {
		t.Run(fmt.Sprintf("%+v", p), func(t *testing.T) {
			t.Parallel()
			for seed := range uint64(200) {
				if _, broken := chance(t, seed+1, p); len(broken) > 0 {
					t.Logf("seed %d: %s", seed+1, broken[0])
					return
				}
			}
			t.Error("200 seeds do not see it")
		})
	}
}

// TestScenarioIsSeen plants what chance meets too rarely: an address that its host got again is taken by a repeat.
func TestScenarioIsSeen(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("testdata/delip_given_back_twice.txt")
	if err != nil {
		t.Fatal(err)
	}
	script, _, _ := strings.Cut(string(text), mark)
	if got, broken := scenario(t, script, plant{ageless: true}); len(broken) == 0 {
		t.Errorf("addresses without generations do no harm:\n%s", got)
	}
}
