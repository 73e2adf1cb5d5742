package fsck

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	fsckpb "slipway.dev/proto/fsck/v1"
	ippb "slipway.dev/proto/ip/v3"
	nodepb "slipway.dev/proto/node/v1"

	"slipway.dev/pkg/fsck"
	"slipway.dev/pkg/pg"
	"slipway.dev/services/vm/internal/store"
	"slipway.dev/services/vm/internal/work"
)

// nodeTimeout is how long a node may take to list what it has.
const nodeTimeout = 10 * time.Second

// Peers are whom the auditor asks.
type Peers struct {
	Ledger ippb.LedgerServiceClient
	// Services are asked for their own bookkeeping.
	Services map[string]fsckpb.CheckServiceClient
	Dial     work.Dial
}

// Auditor looks at the whole installation.
type Auditor struct {
	pool  *pgxpool.Pool
	store *store.Store
	peers Peers
	own   []fsck.Check
	log   *slog.Logger

	mu   sync.Mutex
	last map[string]int
}

// New makes an auditor.
func New(pool *pgxpool.Pool, s *store.Store, p Peers, log *slog.Logger) *Auditor {
	return &Auditor{
		pool: pool, store: s, peers: p, log: log,
		own: []fsck.Check{fsck.Jobs(pool), fsck.Outbox(pool, "vm"), fsck.Parked(pool)},
	}
}

// Report is what an audit found.
type Report struct {
	Findings []fsck.Finding
	// Unchecked says what could not be looked at: then no findings prove nothing.
	Unchecked                         []string
	Hosts, Machines, Addresses, Nodes int
}

// Settled looks, and when it finds something looks again after the time settle: what is told was found both times. Work
// goes on meanwhile, and what one look saw half done, the other sees done.
func (a *Auditor) Settled(ctx context.Context, settle time.Duration) (Report, error) {
	r, err := a.look(ctx)
	if err != nil || len(r.Findings) == 0 {
		return r, err
	}
	select {
	case <-ctx.Done():
		return r, ctx.Err()
	case <-time.After(settle):
	}
	again, err := a.look(ctx)
	if err != nil {
		return r, err
	}
	again.Findings = slices.DeleteFunc(again.Findings, func(f fsck.Finding) bool {
		return !slices.ContainsFunc(r.Findings, func(g fsck.Finding) bool { return f.Kind == g.Kind && f.Object == g.Object })
	})
	return again, nil
}

// look reads hosts first: a machine that is made meanwhile seems to be nobody's, and no longer at the next look.
func (a *Auditor) look(ctx context.Context) (r Report, err error) {
	w := World{Traces: map[int32][]Trace{}}
	if w.Hosts, err = a.store.Recorded(ctx); err != nil {
		return r, err
	}
	if w.Counters, err = a.store.WrongCounters(ctx); err != nil {
		return r, err
	}
	agents, err := a.store.Agents(ctx)
	if err != nil {
		return r, err
	}
	r.Hosts, r.Nodes = len(w.Hosts), len(agents)
	for _, x := range agents {
		traces, err := a.traces(ctx, x.Endpoint)
		if err != nil {
			r.Unchecked = append(r.Unchecked, fmt.Sprintf("node %d: %v", x.ID, err))
			continue
		}
		w.Traces[x.ID] = traces
		r.Machines += len(traces)
	}
	if w.Held, err = a.held(ctx); err != nil {
		r.Unchecked = append(r.Unchecked, fmt.Sprintf("ip: %v", err))
	} else {
		w.HeldSeen, r.Addresses = true, len(w.Held)
	}
	r.Findings = Compare(w)
	own, err := fsck.All(ctx, a.own)
	if err != nil {
		return r, err
	}
	r.Findings = append(r.Findings, own...)
	for name, c := range a.peers.Services {
		resp, err := c.Inspect(ctx, &fsckpb.InspectRequest{})
		if err != nil {
			r.Unchecked = append(r.Unchecked, fmt.Sprintf("%s: %v", name, err))
		}
		for _, f := range resp.GetFindings() {
			r.Findings = append(r.Findings, fsck.From(f))
		}
	}
	return r, nil
}

func (a *Auditor) traces(ctx context.Context, endpoint string) ([]Trace, error) {
	ctx, cancel := context.WithTimeout(ctx, nodeTimeout)
	defer cancel()
	agent, err := a.peers.Dial(endpoint)
	if err != nil {
		return nil, err
	}
	resp, err := agent.ListTraces(ctx, &nodepb.ListTracesRequest{})
	if err != nil {
		return nil, err
	}
	list := make([]Trace, 0, len(resp.GetTraces()))
	for _, t := range resp.GetTraces() {
		id, err := uuid.Parse(t.GetUuid())
		if err != nil {
			return nil, fmt.Errorf("the agent lists %.40q", t.GetUuid())
		}
		list = append(list, Trace{UUID: id, Defined: t.GetDefined(), Disks: t.GetDisks(), Seed: t.GetSeed(), Partial: t.GetPartial()})
	}
	return list, nil
}

// held pages through all addresses that somebody holds.
func (a *Auditor) held(ctx context.Context) ([]Held, error) {
	var list []Held
	for after := int32(0); ; {
		resp, err := a.peers.Ledger.ListHeld(ctx, &ippb.ListHeldRequest{After: after})
		if err != nil {
			return nil, err
		}
		if len(resp.GetHeld()) == 0 {
			return list, nil
		}
		for _, h := range resp.GetHeld() {
			list = append(list, Held{ID: h.GetId(), Addr: h.GetIpAddr(), Owner: h.GetOwner(), Assigned: h.GetAssigned()})
			after = h.GetId()
		}
	}
}

// settleTime is how long the audit that nobody asked for waits before its second look.
const settleTime = 5 * time.Second

// Run audits again and again until ctx ends, in one of several processes at a time. What is found goes to the log and to
// Findings.
func (a *Auditor) Run(ctx context.Context, every time.Duration) error {
	for ctx.Err() == nil {
		err := pg.Lead(ctx, a.pool, "audit", func(ctx context.Context, conn *pgxpool.Conn) error { return a.lead(ctx, conn, every) })
		a.forget()
		if ctx.Err() == nil {
			a.log.Warn("audit waits", "err", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
	return nil
}

func (a *Auditor) lead(ctx context.Context, conn *pgxpool.Conn, every time.Duration) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		if err := conn.Ping(ctx); err != nil { // the lock that makes us the leader went with the connection
			return err
		}
		r, err := a.Settled(ctx, settleTime)
		if err != nil {
			if ctx.Err() == nil {
				a.log.Warn("audit", "err", err)
			}
			continue
		}
		for _, f := range r.Findings {
			a.log.Warn("audit", "kind", f.Kind, "object", f.Object, "detail", f.Detail)
		}
		for _, u := range r.Unchecked {
			a.log.Warn("audit: not looked at", "what", u)
		}
		a.keep(r.Findings)
	}
}

// Findings is how many of each kind the last audit of this process found; nil when another process leads, or none was
// made yet. It is for a gauge.
func (a *Auditor) Findings() map[string]int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.last
}

func (a *Auditor) keep(list []fsck.Finding) {
	counts := map[string]int{}
	for _, k := range fsck.Kinds {
		counts[k] = 0
	}
	for _, f := range list {
		if _, known := counts[f.Kind]; !known {
			f.Kind = fsck.ReportDifferent
		}
		counts[f.Kind]++
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.last = counts
}

// forget is for when another process leads: its numbers count.
func (a *Auditor) forget() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.last = nil
}
