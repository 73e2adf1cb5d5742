package jobs

import (
	"cmp"
	"math"
	"slices"
	"time"

	"slipway.dev/pkg/jobs/internal/backend"
)

// asidePerWorker bounds the jobs that go on without a worker, for each worker of the runner.
const asidePerWorker = 4

// crew knows which jobs have a worker and which went on without one. A runner's mu guards it.
type crew struct {
	workers     int
	nodeShare   float64
	accountPart float64
	busy, aside map[*lease]struct{}
	served      int32 // the account that was served last
}

func newCrew(cfg Config) crew {
	return crew{
		workers: cfg.Workers, nodeShare: cfg.NodeShare, accountPart: cfg.AccountShare,
		busy: map[*lease]struct{}{}, aside: map[*lease]struct{}{},
	}
}

// free returns how many workers have no job.
func (c *crew) free() int { return c.workers - len(c.busy) }

// bounds returns how many of n an account, a node, and an account on one node may have; 0 is no bound.
func (c *crew) bounds(n int) (account, node, both int) {
	account, node = part(n, c.accountPart), part(n, c.nodeShare)
	return account, node, part(cmp.Or(node, n), c.accountPart)
}

// part returns a share of n, at least one; 0, no bound, without a share.
func part(n int, share float64) int {
	if share <= 0 || share >= 1 {
		return 0
	}
	return max(1, int(math.Floor(share*float64(n))))
}

// shares returns what bounds the next claim.
func (c *crew) shares() backend.Shares {
	s := backend.Shares{Served: c.served}
	s.PerAccount, s.PerNode, s.PerBoth = c.bounds(c.workers)
	for l := range c.busy {
		s.Busy = append(s.Busy, l.party)
	}
	return s
}

// stepAside takes the worker from a job that has had it for long, so that other jobs go on while this one waits for its
// node. The job keeps its worker when too many wait already, of all, of its account or of its node.
func (c *crew) stepAside(l *lease) {
	if _, busy := c.busy[l]; !busy {
		return
	}
	var accounts, nodes, pairs int
	me := l.party
	for other := range c.aside {
		p := other.party
		accounts += count(p.AccountID == me.AccountID)
		nodes += count(p.NodeID == me.NodeID)
		pairs += count(p == me)
	}
	all := asidePerWorker * c.workers
	account, node, both := c.bounds(all)
	if len(c.aside) >= all || over(me.AccountID, accounts, account) || over(me.NodeID, nodes, node) ||
		over(min(me.AccountID, me.NodeID), pairs, both) {
		return
	}
	delete(c.busy, l)
	c.aside[l] = struct{}{}
}

// over reports whether n jobs of the account or node id are as many as it may have.
func over(id int32, n, most int) bool { return id > 0 && most > 0 && n >= most }

// leave removes a job that is over.
func (c *crew) leave(l *lease) {
	delete(c.busy, l)
	delete(c.aside, l)
}

// patience starts the time after which the job steps aside.
func (r *Runner) patience(l *lease) *time.Timer {
	return time.AfterFunc(r.cfg.Patience, func() {
		r.mu.Lock()
		r.crew.stepAside(l)
		r.mu.Unlock()
		signal(r.freed)
	})
}

// byTurn sorts claimed jobs in the order in which the claim chose them.
func byTurn(list []backend.Claimed) {
	slices.SortFunc(list, func(a, b backend.Claimed) int { return cmp.Compare(a.Turn, b.Turn) })
}
