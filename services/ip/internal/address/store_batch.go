package address

import (
	"context"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"slipway.dev/pkg/unit"
)

// batcher makes one statement, and one commit, of claims that arrive at the same time. It adds no delay: a claim that
// arrives alone is sent alone, and claims that arrive while a statement runs are sent together after it.
type batcher struct {
	db      *unit.DB
	mu      sync.Mutex
	queue   map[batchKey][]*batchedClaim
	running map[batchKey]int // statements
}

func newBatcher(db *unit.DB) *batcher {
	return &batcher{db: db, queue: map[batchKey][]*batchedClaim{}, running: map[batchKey]int{}}
}

// batchKey is what claims of one batch have in common. Each wants one IPv4 address for a new owner.
type batchKey struct {
	cluster, account int32
	lapse            time.Duration
}

type batchedClaim struct {
	owner string
	got   *row // nil: the batch took no address for this owner
	done  chan struct{}
}

const (
	maxBatch   = 64 // claims in one statement
	maxRunning = 1  // statements of one batchKey
	// batchTimeout limits a statement. The statement serves several callers, so it does not end with the context of one
	// of them.
	batchTimeout = 10 * time.Second
)

// claim takes one address for a new owner as a part of a batch. ok is false when the batch took none or ctx ended.
func (b *batcher) claim(ctx context.Context, r request) (list []row, ok bool) {
	k := batchKey{r.Cluster, r.Account, r.Lapse}
	mine := &batchedClaim{owner: r.Owner, done: make(chan struct{})}
	b.mu.Lock()
	b.queue[k] = append(b.queue[k], mine)
	lead := b.running[k] < maxRunning
	if lead {
		b.running[k]++
	}
	b.mu.Unlock()
	if lead {
		go b.drain(context.WithoutCancel(ctx), k)
	}
	select {
	case <-mine.done:
	case <-ctx.Done():
		return nil, false // an address that the batch takes now lapses
	}
	if mine.got == nil {
		return nil, false
	}
	return []row{*mine.got}, true
}

// drain sends batches until the queue is empty.
func (b *batcher) drain(ctx context.Context, k batchKey) {
	for {
		b.mu.Lock()
		list := b.queue[k]
		list = list[:min(len(list), maxBatch)]
		if b.queue[k] = b.queue[k][len(list):]; len(b.queue[k]) == 0 {
			delete(b.queue, k)
		}
		if len(list) == 0 {
			if b.running[k]--; b.running[k] == 0 {
				delete(b.running, k)
			}
			b.mu.Unlock()
			return
		}
		b.mu.Unlock()
		b.send(ctx, k, list)
	}
}

// send claims an address for each claim of list, or for as many as there are free addresses. When the statement fails,
// each claim is left to a unit of work of its own.
func (b *batcher) send(ctx context.Context, k batchKey, list []*batchedClaim) {
	ctx, cancel := context.WithTimeout(ctx, batchTimeout)
	defer cancel()
	owners := make([]string, len(list))
	for i, w := range list {
		owners[i] = w.owner
	}
	rows, err := b.db.Query(ctx, batchOfCluster, owners, k.cluster, k.account, k.lapse, len(list))
	if err == nil {
		var got []row
		if got, err = pgx.CollectRows(rows, pgx.RowToStructByName[row]); err == nil {
			byOwner := make(map[string]*row, len(got))
			for i := range got {
				byOwner[got[i].Owner] = &got[i]
			}
			for _, w := range list {
				w.got = byOwner[w.owner]
			}
		}
	}
	for _, w := range list {
		close(w.done)
	}
}
