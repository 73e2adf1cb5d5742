// Package faulty makes connections fail, delay or repeat messages, for tests. The fault that finds most mistakes is an operation
// that was carried out although its answer is an error. Database, bus and calls between services are wrapped from outside; the
// code under test is unchanged.
package faulty

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// Fault is what happens to one operation.
type Fault int

// The faults. None is most common.
const (
	None    Fault = iota
	Before        // it fails and was not done
	After         // it was done and fails
	Delay         // it takes longer
	Twice         // it is done twice
	Reorder       // another one, which began later, is done before it
	Lost          // it is not done, and no error says so
	kinds
)

// Err is the error of an operation that a fault hit.
var Err = errors.New("faulty: the connection broke")

// Plan decides which operations fail. The same seed makes the same decisions in the same order; the order of concurrent
// operations depends on the scheduler.
type Plan struct {
	// Rate is the share of operations that each fault hits; 0.05 makes a quarter of all operations go wrong somehow.
	Rate float64
	// MaxDelay bounds a Delay.
	MaxDelay time.Duration
	// Commits makes every fault of a database an After of a commit, whose outcome is then unknown to the caller.
	Commits bool
	// Lossy lets single messages to and from NATS get lost, while their connection goes on, and leaves all other faults out.
	Lossy bool

	on    atomic.Bool
	count [kinds]atomic.Int64

	mu    sync.Mutex
	rng   *rand.Rand
	waits []chan struct{} // calls that let another one pass
}

// New makes a plan without faults until On.
func New(seed uint64, rate float64) *Plan {
	return &Plan{Rate: rate, MaxDelay: 20 * time.Millisecond, rng: rand.New(rand.NewPCG(seed, seed))} // #nosec G404 -- tests repeat what a seed decided
}

// On starts the faults.
func (p *Plan) On() { p.on.Store(true) }

// Off stops the faults.
func (p *Plan) Off() { p.on.Store(false) }

// Count returns how many operations a fault has hit.
func (p *Plan) Count(f Fault) int64 { return p.count[f].Load() }

// next returns the fault of one operation, of those that are possible. It waits for the time of a Delay.
func (p *Plan) next(faults ...Fault) Fault {
	if !p.on.Load() {
		return None
	}
	p.mu.Lock()
	f, wait := None, time.Duration(0)
	if n := p.rng.Float64() / p.Rate; n < float64(len(faults)) {
		f = faults[int(n)]
	}
	if f == Delay {
		wait = time.Duration(p.rng.Int64N(int64(p.MaxDelay)))
	}
	p.mu.Unlock()
	p.count[f].Add(1)
	if wait > 0 {
		time.Sleep(wait)
	}
	return f
}

// overtaken waits until another call is made, at most for MaxDelay.
func (p *Plan) overtaken(ctx context.Context) {
	w := make(chan struct{})
	p.mu.Lock()
	p.waits = append(p.waits, w)
	p.mu.Unlock()
	select {
	case <-w:
	case <-time.After(p.MaxDelay):
	case <-ctx.Done():
	}
}

// passed ends the wait of all calls in overtaken.
func (p *Plan) passed() {
	p.mu.Lock()
	waits := p.waits
	p.waits = nil
	p.mu.Unlock()
	for _, w := range waits {
		close(w)
	}
}
