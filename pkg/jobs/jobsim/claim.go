package jobsim

import (
	"cmp"
	"context"
	"maps"
	"math"
	"slices"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/jobs/internal/backend"
)

// Claim does what job_claim and the statement around it do.
func (b memoryBackend) Claim(ctx context.Context, c backend.Claim) (got []backend.Claimed, err error) {
	err = b.intercept(ctx, "claim", func() error {
		return b.m.Do(func(t *Tx) error {
			now := b.m.Now()
			for i, j := range newChoice(t, c).choose() {
				t.change(j)
				if j.Fresh = j.StartedAt == nil; j.Fresh {
					j.StartedAt = &now
				}
				if j.State == backend.Queued {
					j.State = backend.Running
					if j.Reason == backend.ErrNodeHangs.Reason {
						j.Reason, j.Error = "", ""
					}
				}
				if j.holder != "" {
					j.Lost++
				}
				b.m.fence++
				j.Attempt++
				j.Fence, j.holder, j.until, j.Turn = b.m.fence, c.Name, b.m.until(c.Lease), i+1
				got = append(got, j.Claimed)
			}
			return nil
		})
	})
	return got, err
}

// choice chooses the jobs of a claim.
type choice struct {
	backend.Claim
	nodes  map[int32][]int32        // of each account with unfinished jobs
	queues map[backend.Party][]*job // the due jobs that are the first of their keys
	taken  []*job
}

func newChoice(t *Tx, c backend.Claim) *choice {
	x := &choice{Claim: c, nodes: map[int32][]int32{}, queues: map[backend.Party][]*job{}}
	x.Busy, x.Shut, x.Probed = slices.Clone(c.Busy), slices.Clone(c.Shut), slices.Clone(c.Probed)
	m, now, earlier := t.m, t.m.Now(), map[string]bool{}
	for m.over < len(m.jobs) && m.jobs[m.over].State.Finished() {
		m.over++
	}
	for _, j := range m.jobs[m.over:] {
		if j.State.Finished() {
			continue
		}
		p := j.Party()
		x.nodes[p.AccountID] = append(x.nodes[p.AccountID], p.NodeID)
		if !earlier[j.Key] && !j.RunAt.After(now) && j.until.Before(now) &&
			(slices.Contains(c.Kinds, j.Kind) || !j.RunAt.After(now.Add(-c.UnknownAfter))) {
			x.queues[p] = append(x.queues[p], j)
		}
		earlier[j.Key] = true
	}
	for account, list := range x.nodes {
		slices.Sort(list)
		x.nodes[account] = slices.Compact(list)
	}
	for _, list := range x.queues {
		slices.SortStableFunc(list, func(a, b *job) int { return cmp.Or(a.RunAt.Compare(b.RunAt), int(a.ID-b.ID)) })
	}
	return x
}

// choose has the accounts take turns until there is enough.
func (x *choice) choose() []*job {
	for more := true; more; {
		more = false
		for _, account := range from(slices.Sorted(maps.Keys(x.nodes)), x.Served) {
			quota := min(max(1, x.Limit/2), x.room(account, 0))
			if quota <= 0 {
				continue
			}
			nodes := x.nodes[account]
			lowest, highest := nodes[0], nodes[len(nodes)-1]
			for _, node := range from(nodes, lowest-1+x.Pivot%(highest-lowest+1)) {
				n, stopped := x.take(account, node, quota)
				quota -= n
				more = more || stopped
				if quota == 0 || len(x.taken) == x.Limit {
					break
				}
			}
			if len(x.taken) == x.Limit {
				return x.taken
			}
		}
	}
	return x.taken
}

// from returns the ids above one, then the others.
func from(ids []int32, above int32) []int32 {
	i, _ := slices.BinarySearch(ids, above+1)
	return slices.Concat(ids[i:], ids[:i])
}

// take takes up to quota jobs of a queue, and reports whether a bound stopped it.
func (x *choice) take(account, node int32, quota int) (n int, stopped bool) {
	p := backend.Party{AccountID: account, NodeID: node}
	room := min(quota, x.room(account, node))
	for n < room && len(x.queues[p]) > 0 && len(x.taken) < x.Limit {
		x.taken, x.queues[p] = append(x.taken, x.queues[p][0]), x.queues[p][1:]
		x.Busy = append(x.Busy, p)
		if i := slices.Index(x.Probed, node); i >= 0 {
			x.Probed, x.Shut = slices.Delete(x.Probed, i, i+1), append(x.Shut, node)
		}
		n++
	}
	return n, n > 0 && n == room
}

// room does what job_room does.
func (x *choice) room(account, node int32) int {
	left := math.MaxInt32
	least := func(most int, same func(backend.Party) bool) {
		if most <= 0 {
			return
		}
		for _, p := range x.Busy {
			if same(p) {
				most--
			}
		}
		left = min(left, most)
	}
	if account > 0 {
		least(x.PerAccount, func(p backend.Party) bool { return p.AccountID == account })
	}
	if node > 0 {
		least(x.PerNode, func(p backend.Party) bool { return p.NodeID == node })
	}
	if account > 0 && node > 0 {
		least(x.PerBoth, func(p backend.Party) bool { return p.AccountID == account && p.NodeID == node })
	}
	switch {
	case slices.Contains(x.Shut, node):
		return min(left, 0)
	case slices.Contains(x.Probed, node):
		return min(left, 1)
	}
	return left
}

// Explain does what Tables.Explain does.
func (b memoryBackend) Explain(ctx context.Context, nodes []int32, f *fault.Fault) error {
	return b.intercept(ctx, "explain", func() error {
		return b.m.Do(func(t *Tx) error {
			for _, j := range b.m.jobs[b.m.over:] {
				if j.State == backend.Queued && slices.Contains(nodes, j.NodeID) && j.Reason != f.Reason {
					t.change(j)
					j.setFault(f)
				}
			}
			return nil
		})
	})
}
