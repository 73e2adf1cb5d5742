// Package simulate runs a node and its control plane in simulated time: scripted misfortune with the expected log, and
// misfortune by chance that can be replayed by its seed.
package simulate

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

var (
	update = flag.Bool("update", false, "rewrite the logs in testdata")
	only   = flag.Uint64("seed", 0, "run this seed alone and print its log")
	seeds  = flag.Int("seeds", 500, "how many seeds to run")
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
			w := newWorld(t, 1, plant{})
			w.play(script)
			got := strings.Join(w.log, "\n") + "\n"
			if len(w.broken) > 0 {
				t.Errorf("broken: %q", w.broken)
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

// play runs a script. A line is a time and a command; lines that begin with # are comments.
func (w *world) play(script string) {
	for line := range strings.SplitSeq(script, "\n") {
		words := strings.Fields(line)
		if len(words) < 2 || strings.HasPrefix(line, "#") {
			continue
		}
		w.run(w.duration(words[0]))
		w.do(words[1], append(words[2:], "", ""))
	}
	w.settle()
}

func (w *world) do(verb string, args []string) {
	switch verb {
	case "create", "start", "stop", "restart", "delete":
		w.accept(verb, args[0])
	case "lose", "mute", "broken":
		n, _ := strconv.Atoi(args[0])
		m := map[string]misfortune{"lose": {lost: true}, "mute": {mute: true}, "broken": {broken: true}}[verb]
		w.net.scripted = append(w.net.scripted, slices.Repeat([]misfortune{m}, max(n, 1))...)
	case "pass":
		w.net.scripted = append(w.net.scripted, make([]misfortune, w.number(args[0]))...)
	case "delay":
		w.net.scripted = append(w.net.scripted, misfortune{delay: w.duration(args[0])})
	case "twice":
		w.net.scripted = append(w.net.scripted, misfortune{twice: w.duration(args[0])})
	case "cut":
		w.net.cut = w.now.Sub(w.start) + w.duration(args[0])
		w.say("the network is cut for %s", args[0])
	case "agent":
		if args[0] == "dies" {
			w.kill()
		} else {
			w.say("the agent starts")
			w.wake()
		}
	case "w1", "w2":
		w.mishap(w.workers[w.number(verb[1:])-1], args[0], args[1])
	case "wait":
	default:
		w.t.Fatalf("unknown command %s", verb)
	}
}

// mishap is what becomes of a worker.
func (w *world) mishap(x *worker, what, long string) {
	switch what {
	case "dies":
		x.dead = true
	case "starts":
		// A new process: the old one's plans are gone.
		i := slices.Index(w.workers, x)
		w.workers[i] = &worker{w: w, name: x.name + "'"}
	default:
		x.paused = w.now.Add(w.duration(long))
	}
	w.say("%s %s %s", x.name, what, long)
}

func (w *world) duration(s string) time.Duration {
	d, err := time.ParseDuration(s)
	if err != nil {
		w.t.Fatal(err)
	}
	return d
}

func (w *world) number(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		w.t.Fatal(err)
	}
	return n
}

// chance plays ten simulated minutes of requests and misfortune that follow from the seed alone.
func chance(t *testing.T, seed uint64, p plant) *world {
	t.Helper()
	w := newWorld(t, seed, p)
	w.net.rate = 0.3
	at := time.Duration(0)
	for at < 10*time.Minute {
		at += time.Duration(w.random.Int64N(int64(20 * time.Second)))
		w.run(at)
		name := string(rune('a' + w.random.IntN(4)))
		h := w.hosts[name]
		switch n := w.random.IntN(20); {
		case n < 12 && h == nil:
			w.accept("create", name)
		case n < 12 && h.wish == "absent":
		case n < 12:
			w.accept([]string{"start", "stop", "restart", "delete"}[w.random.IntN(4)], name)
		case n < 15:
			w.mishap(w.workers[w.random.IntN(2)], "sleeps", []string{"20s", "40s", "90s"}[w.random.IntN(3)])
		case n < 16:
			w.mishap(w.workers[w.random.IntN(2)], "dies", "")
		case n < 17 && w.agent != nil:
			w.kill()
		case n < 18 && w.net.cut < at:
			w.do("cut", []string{"25s"})
		default:
			w.mend()
		}
	}
	w.mend()
	w.settle()
	return w
}

// mend starts what is dead.
func (w *world) mend() {
	for _, x := range w.workers {
		if x.dead {
			w.mishap(x, "starts", "")
		}
	}
	if w.agent == nil {
		w.do("agent", []string{"starts"})
	}
}

func TestChance(t *testing.T) {
	t.Parallel()
	if *only != 0 {
		w := chance(t, *only, plant{})
		t.Errorf("seed %d\n%s", *only, strings.Join(w.log, "\n"))
		return
	}
	refused := 0
	for seed := range uint64(*seeds) {
		first, second := chance(t, seed+1, plant{}), chance(t, seed+1, plant{})
		if len(first.broken) > 0 {
			t.Errorf("seed %d (go test -run Chance -args -seed %d): %q", seed+1, seed+1, first.broken)
		}
		if !slices.Equal(first.log, second.log) {
			t.Errorf("seed %d does not replay", seed+1)
		}
		refused += strings.Count(strings.Join(first.log, "\n"), "is refused")
	}
	if refused < *seeds/2 {
		t.Errorf("only %d late commands in %d seeds: too little misfortune", refused, *seeds)
	}
}

// TestChanceIsSeen plants bugs; some seed must see each.
func TestChanceIsSeen(t *testing.T) {
	t.Parallel()
	for _, p := range []plant{{forget: true}, {unfenced: true}, {stepless: true}} {
		t.Run(fmt.Sprintf("%+v", p), func(t *testing.T) {
			t.Parallel()
			for seed := range uint64(100) {
				if len(chance(t, seed+1, p).broken) > 0 {
					return
				}
			}
			t.Error("100 seeds do not see it")
		})
	}
}
