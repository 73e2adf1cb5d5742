package store

import (
	"context"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"slipway.dev/services/ip/internal/domain"
)

// together makes one statement, and one commit, of claims that come at the same time. Nobody waits for company: a claim
// that comes alone goes alone, and those that come while two are under way go together afterwards.
type together struct {
	store *Store
	mu    sync.Mutex
	queue map[kind][]*waiting
	busy  map[kind]int
}

// kind is what claims must have in common to go together: each wants one IPv4 address for a new owner.
type kind struct {
	cluster, account int32
	lapse            time.Duration
}

type waiting struct {
	owner string
	got   *domain.Address // nil: the short way did not do
	done  chan struct{}
}

const (
	company  = 64 // at most so many claims go together
	underWay = 1
	// patience bounds a statement: it is not one caller's, so it does not end with one caller's context.
	patience = 10 * time.Second
)

func (t *together) claim(ctx context.Context, w domain.Want) ([]domain.Address, bool) {
	k := kind{w.Cluster, w.Account, w.Lapse}
	mine := &waiting{owner: w.Owner, done: make(chan struct{})}
	t.mu.Lock()
	t.queue[k] = append(t.queue[k], mine)
	lead := t.busy[k] < underWay
	if lead {
		t.busy[k]++
	}
	t.mu.Unlock()
	if lead {
		go t.lead(context.WithoutCancel(ctx), k)
	}
	select {
	case <-mine.done:
	case <-ctx.Done():
		return nil, false // what is taken now lapses
	}
	if mine.got == nil {
		return nil, false
	}
	return []domain.Address{*mine.got}, true
}

// lead works on the queue until it is empty.
func (t *together) lead(ctx context.Context, k kind) {
	for {
		t.mu.Lock()
		list := t.queue[k]
		list = list[:min(len(list), company)]
		if t.queue[k] = t.queue[k][len(list):]; len(t.queue[k]) == 0 {
			delete(t.queue, k)
		}
		if len(list) == 0 {
			if t.busy[k]--; t.busy[k] == 0 {
				delete(t.busy, k)
			}
			t.mu.Unlock()
			return
		}
		t.mu.Unlock()
		t.take(ctx, k, list)
	}
}

const takeTogether = `
	WITH wants AS MATERIALIZED (
		SELECT w.owner, row_number() OVER (ORDER BY w.n) AS n
		FROM (SELECT u.x::uuid AS owner, u.n FROM unnest($1::text[]) WITH ORDINALITY u(x, n)) w
		WHERE NOT EXISTS (SELECT FROM address a WHERE a.owner = w.owner)
	), pools AS MATERIALIZED (
		SELECT p.id, b.interface FROM pool_cluster b JOIN pool p ON p.id = b.pool_id
		WHERE b.cluster_id = $2 AND (p.account_id IS NULL OR p.account_id = $3) ORDER BY p.id
	), picked AS MATERIALIZED (
		SELECT f.id, f.ip, p.id AS pool, p.interface FROM pools p CROSS JOIN LATERAL (
			SELECT id, ip FROM address WHERE pool_id = p.id AND state = 'free' ORDER BY ip LIMIT $5 FOR UPDATE SKIP LOCKED
		) f LIMIT $5
	), numbered AS (
		SELECT id, interface, row_number() OVER (ORDER BY pool, ip) AS n FROM picked
	)
	UPDATE address a SET state = 'reserved', owner = w.owner, claim = w.owner, account_id = nullif($3, 0), position = 0,
		interface = k.interface, until = now() + $4::interval, generation = a.generation + 1
	FROM numbered k JOIN wants w ON w.n = k.n, pool_range r JOIN network n ON n.id = r.network_id
	WHERE a.id = k.id AND r.id = a.range_id
	RETURNING ` + addressColumns

// take claims for all of list, or for as many as there are addresses. When it fails all go the long way.
func (t *together) take(ctx context.Context, k kind, list []*waiting) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	owners := make([]string, len(list))
	for i, w := range list {
		owners[i] = w.owner
	}
	rows, err := t.store.pool.Query(ctx, takeTogether, owners, k.cluster, k.account, k.lapse, len(list))
	if err == nil {
		var got []domain.Address
		if got, err = pgx.CollectRows(rows, pgx.RowToStructByName[domain.Address]); err == nil {
			byOwner := make(map[string]*domain.Address, len(got))
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
