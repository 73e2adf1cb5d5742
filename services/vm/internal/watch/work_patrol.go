package watch

import (
	"context"
	"errors"
	"hash/fnv"
	"sync"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc/codes"

	nodepb "slipway.dev/proto/node/v1"

	"slipway.dev/pkg/fault"
	"slipway.dev/services/vm/internal/host"
	"slipway.dev/services/vm/internal/node"
)

const (
	// answerTime is how long a node may take to answer.
	answerTime = 5 * time.Second
	// apart is the time between the first looks at two nodes, unless there are too many for the period.
	apart = 10 * time.Millisecond
	// silentFor bounds the time between two looks at a node that does not answer.
	silentFor = 30 * time.Second
	// lately is how long a change of a host makes a node's whole list wanted: longer than a unit of work, whose rows are
	// dated by its beginning, and than several looks.
	lately = 2 * time.Minute
	// remembered is how long the last list counts as compared with what is stored.
	remembered = lately / 4
)

// patrol looks at one node, by a timer of its own.
type patrol struct {
	*Watcher
	every time.Duration
	end   context.CancelFunc
	wake  chan struct{}

	mu       sync.Mutex
	node     node.Agent // as it was heard of last
	failures int        // of the node, in a row

	troubled bool // the database failed the last time
	// asOf is the node's name for its last list, which agreed with what was stored at the time last; "" if it did not.
	asOf string
	last time.Time
}

// first returns how long after the start a node is looked at first, spread by its id.
func first(id uuid.UUID, every time.Duration, nodes int) time.Duration {
	h := fnv.New64a()
	_, _ = h.Write(id[:])
	return time.Duration(h.Sum64() % uint64(max(min(every, time.Duration(nodes)*apart), 1))) // #nosec G115 -- positive
}

// hear takes in what is known of the node by now. A node that fails is looked at at once when its signs of life end, begin
// again, or come from another place.
func (p *patrol) hear(a node.Agent) {
	p.mu.Lock()
	defer p.mu.Unlock()
	differs := a.Alive != p.node.Alive || a.Endpoint != p.node.Endpoint
	p.node = a
	if differs && p.failures > 0 {
		select {
		case p.wake <- struct{}{}:
		default: // it is awake
		}
	}
}

// agent returns what is known of the node by now.
func (p *patrol) agent() node.Agent {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.node
}

// run looks at the node until ctx ends: after wait, then periodically, and more and more seldom while the node does not
// answer.
func (p *patrol) run(ctx context.Context, wait time.Duration) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.wake:
		case <-timer.C:
		}
		select {
		case <-p.wake:
		default:
		}
		began := time.Now()
		p.look(ctx)
		timer.Reset(max(p.pause()-time.Since(began), 0))
	}
}

// look asks the node once and stores the answer. It counts the failures of the node, not those of the database, and logs
// the first one in a row of either.
func (p *patrol) look(ctx context.Context) {
	asked, silence, err := p.compare(ctx)
	if ctx.Err() != nil {
		return
	}
	if err != nil && !p.troubled {
		p.log.Warn("watch nodes", "node", p.agent().ID, "err", err)
	}
	p.troubled = err != nil
	if asked {
		p.count(silence)
	}
}

// count counts failures of the node in a row, of which silence is the last one if there is one.
func (p *patrol) count(silence error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	before := p.failures
	if p.failures++; silence == nil {
		p.failures = 0
	}
	switch {
	case silence == nil && before > 0:
		p.log.Info("a node answers again", "node", p.node.ID)
	case silence != nil && before == 0:
		p.log.Warn("watch nodes", "node", p.node.ID, "err", silence)
	}
}

// pause returns the time from one look to the next.
func (p *patrol) pause() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.failures == 0 {
		return p.every
	}
	return max(p.every, min(p.every<<min(p.failures-1, 10), silentFor))
}

// compare asks the node for its machines and compares them with what is stored. A node whose list is as before, while no
// host of it was changed, has nothing to store. silence says why the node did not answer, err what is wrong with the
// database.
func (p *patrol) compare(ctx context.Context) (asked bool, silence, err error) {
	since, quiet, err := p.store.Begin(ctx, p.agent().ID, lately)
	if err != nil {
		return false, nil, err
	}
	asOf := p.asOf
	if d := since.Sub(p.last); !quiet || d < 0 || d > remembered {
		asOf = ""
	}
	p.asOf, p.last = "", since
	resp, silence := p.ask(ctx, p.agent(), &nodepb.ListMachinesRequest{AsOf: asOf, Timeline: p.heard.guard.Seen()})
	if silence == nil && asOf != "" && resp.GetUnchanged() {
		p.asOf = asOf
		return true, nil, nil
	}
	select {
	case p.writes <- struct{}{}:
		defer func() { <-p.writes }()
	case <-ctx.Done():
		return false, nil, ctx.Err()
	}
	if silence != nil {
		return true, silence, p.unanswered(ctx, silence)
	}
	agreed, err := p.take(ctx, since, observations(resp.GetMachines()))
	if agreed {
		p.asOf = resp.GetAsOf()
	}
	return true, nil, err
}

// unanswered takes in why there is no answer. A node that was not asked, or whose answer makes no sense, is not a silent
// one: what is stored of its hosts stays.
func (p *patrol) unanswered(ctx context.Context, why error) error {
	of := p.agent()
	if ctx.Err() != nil || errors.Is(why, fault.NotAsked) || of.Alive && fault.Status(why).Code() != codes.Unavailable {
		return nil
	}
	return p.store.LoseContact(ctx, of.ID)
}

// take stores what the node saw after since. It reports whether nothing is left to compare: each host is as it was seen,
// and each machine is a host's.
func (p *patrol) take(ctx context.Context, since time.Time, seen []host.Observation) (agreed bool, err error) {
	id := p.agent().ID
	d, err := p.store.Observe(ctx, id, since, seen)
	if err != nil {
		return false, err
	}
	if d.Changed > 0 {
		p.log.Info("hosts differ from what was known", "node", id, "changed", d.Changed)
	}
	strangers, err := p.reaper.Inspect(ctx, id, since, seen)
	return err == nil && strangers == 0 && d.Left == 0, err
}

// states are the states of hosts whose machines are in these states.
var states = map[nodepb.MachineState]host.State{
	nodepb.MachineState_MACHINE_STATE_OFF:     host.Stopped,
	nodepb.MachineState_MACHINE_STATE_RUNNING: host.Active,
	nodepb.MachineState_MACHINE_STATE_PAUSED:  host.Paused,
	nodepb.MachineState_MACHINE_STATE_CRASHED: host.Crashed,
}

// observations returns the machines of a list that can be understood.
func observations(list []*nodepb.Machine) []host.Observation {
	seen := make([]host.Observation, 0, len(list))
	for _, m := range list {
		id, err := uuid.Parse(m.GetUuid())
		if state, known := states[m.GetState()]; err == nil && known {
			seen = append(seen, host.Observation{
				UUID: id, State: state, HostID: m.GetHostId(), StackID: m.GetStackId(), NodeID: m.GetNode(), Fence: m.GetFence(),
			})
		}
	}
	return seen
}
