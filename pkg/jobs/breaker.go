package jobs

import (
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"
)

const (
	// tripAfter is how many steps of a node time out, while no step of their names succeeds, until its breaker opens.
	tripAfter = 3
	// shutFirst and shutLongest bound how long an open breaker waits for its next probe; the wait doubles.
	shutFirst   = 30 * time.Second
	shutLongest = 5 * time.Minute
	// sureAfter is how many probes that ran into no time-out close a breaker, although none had a step that timed out.
	sureAfter = 3
	// forgetAfter is how long a breaker is kept without another time-out: its node may be gone.
	forgetAfter = time.Hour
)

// Breaker is the breaker of a node whose steps time out, as metrics show it.
type Breaker struct {
	NodeID int32
	Open   bool // no job of the node is claimed, except for probes
}

// breaker keeps workers from a node whose steps time out. When it is open, one job at a time is let through after a wait,
// as a probe. A step that succeeds and that had timed out before closes it.
type breaker struct {
	slow     map[string]bool // names of the steps that timed out and did not succeed since
	timeouts int
	last     time.Time // time-out
	open     bool
	until    time.Time     // no probe before
	wait     time.Duration // of the last opening
	probe    *lease
	passed   int // probes in a row without a time-out
}

// breakers are those of all nodes that have one. Without time-outs a node has none.
type breakers struct {
	log *slog.Logger

	mu    sync.Mutex
	nodes map[int32]*breaker
}

// doors returns the nodes of which no job is to be claimed, and those of which one is, as a probe.
func (b *breakers) doors() (shut, probed []int32) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, id := range slices.Sorted(maps.Keys(b.nodes)) {
		switch x := b.nodes[id]; {
		case x.probe == nil && time.Since(x.last) > forgetAfter:
			b.close(id, x)
		case !x.open:
		case x.probe != nil || time.Now().Before(x.until):
			shut = append(shut, id)
		default:
			probed = append(probed, id)
		}
	}
	return shut, probed
}

// begin notes that a job of a node begins.
func (b *breakers) begin(l *lease) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if x := b.nodes[l.party.NodeID]; x != nil && x.open && x.probe == nil {
		x.probe, l.timedOut = l, false
	}
}

// stepped notes how a step on a node ended.
func (b *breakers) stepped(l *lease, step string, err error) {
	id := l.party.NodeID
	if id == 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	x := b.nodes[id]
	switch late := errors.Is(err, errTimeout); {
	case late && x == nil:
		x = &breaker{slow: map[string]bool{}}
		b.nodes[id] = x
		fallthrough
	case late:
		l.timedOut = true
		b.timedOut(id, x, step, x.probe == l)
	case err == nil && x != nil && x.slow[step]:
		b.close(id, x)
	}
}

// timedOut counts a time-out, and opens the breaker when there are too many, or for longer when a probe ran into it.
func (b *breakers) timedOut(id int32, x *breaker, step string, probe bool) {
	x.slow[step] = true
	x.timeouts++
	x.passed, x.last = 0, time.Now()
	if !probe && (x.open || x.timeouts < tripAfter) {
		return
	}
	x.wait = min(max(2*x.wait, shutFirst), shutLongest)
	x.until = time.Now().Add(x.wait)
	if !x.open {
		b.log.Error("jobs: steps on a node time out; its jobs wait, except for probes", "node", id, "step", step)
	}
	x.open = true
}

// ended notes the end of a job. whole is false if the lease or the runner ended first, so that the job proves nothing.
func (b *breakers) ended(l *lease, whole bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	x := b.nodes[l.party.NodeID]
	if x == nil || x.probe != l {
		return
	}
	x.probe = nil
	if l.timedOut || !whole {
		return
	}
	x.until = time.Now()
	if x.passed++; x.passed == sureAfter {
		b.close(l.party.NodeID, x)
	}
}

// close closes a breaker, and forgets what led to its opening.
func (b *breakers) close(id int32, x *breaker) {
	if x.open {
		b.log.Info("jobs: no step on a node times out any more", "node", id)
	}
	delete(b.nodes, id)
}

// Breakers returns the breakers of the nodes whose steps timed out lately, by the id of the node. Each runner has its own.
func (r *Runner) Breakers() []Breaker {
	r.breakers.mu.Lock()
	defer r.breakers.mu.Unlock()
	var list []Breaker
	for _, id := range slices.Sorted(maps.Keys(r.breakers.nodes)) {
		list = append(list, Breaker{NodeID: id, Open: r.breakers.nodes[id].open})
	}
	return list
}
