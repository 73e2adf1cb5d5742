package fsck

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/google/uuid"

	authpb "slipway.dev/proto/auth/v4"
	ippb "slipway.dev/proto/ip/v3"
	nodepb "slipway.dev/proto/node/v1"

	"slipway.dev/pkg/fsck"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/vm/internal/node"
)

const (
	// nodeTimeout is how long a node may take to list what it has.
	nodeTimeout = 10 * time.Second
	// abreast is how many nodes are asked at once.
	abreast = 128
)

// Reader reads what is recorded and what is there.
type Reader struct {
	DB     *unit.DB
	Ledger ippb.LedgerServiceClient
	Users  authpb.UserServiceClient
	Dial   node.Dial
}

// Compare reads everything and lists the differences. It reads hosts first: a machine that is made meanwhile looks like
// an orphan, and no longer does at the next look.
func (r Reader) Compare(ctx context.Context) (rep fsck.Report, err error) {
	w := World{Traces: map[int32][]Trace{}, Rules: map[int32][]string{}, LeftOut: map[int32][]LeftOut{}, Bridges: map[int32][]Bridge{}}
	if w.Hosts, err = recorded(ctx, r.DB); err != nil {
		return rep, err
	}
	if w.Disks, err = loose(ctx, r.DB); err != nil {
		return rep, err
	}
	if w.Counters, err = wrongCounters(ctx, r.DB); err != nil {
		return rep, err
	}
	agents, err := node.Agents(ctx, r.DB)
	if err != nil {
		return rep, err
	}
	rep.Counts = map[string]int{Hosts: len(w.Hosts), Nodes: len(agents)}
	for i, of := range r.everyTrace(ctx, agents) {
		id := agents[i].ID
		if of.err != nil {
			rep.Unchecked = append(rep.Unchecked, fmt.Sprintf("node %d: %v", id, of.err))
			continue
		}
		w.Traces[id], w.Rules[id], w.LeftOut[id], w.Bridges[id] = of.traces, of.rules, of.leftOut, of.bridges
		rep.Counts[Machines] += len(of.traces)
	}
	if w.Held, err = r.held(ctx); err != nil {
		rep.Unchecked = append(rep.Unchecked, fmt.Sprintf("ip: %v", err))
	} else {
		w.HeldSeen, rep.Counts[Addresses] = true, len(w.Held)
	}
	if w.Accounts, err = r.accounts(ctx); err != nil {
		rep.Unchecked = append(rep.Unchecked, fmt.Sprintf("auth: %v", err))
	}
	rep.Findings = Compare(w)
	return rep, nil
}

// answer is what a node has, or why it did not say so.
type answer struct {
	traces  []Trace
	rules   []string
	leftOut []LeftOut
	bridges []Bridge
	err     error
}

// everyTrace asks all nodes, abreast of each other: one that does not answer must not make the others wait.
func (r Reader) everyTrace(ctx context.Context, agents []node.Agent) []answer {
	list := make([]answer, len(agents))
	places := make(chan struct{}, abreast)
	var all sync.WaitGroup
	for i, x := range agents {
		places <- struct{}{}
		all.Go(func() {
			defer func() { <-places }()
			list[i] = r.traces(ctx, x)
		})
	}
	all.Wait()
	return list
}

// traces lists what a node has.
func (r Reader) traces(ctx context.Context, x node.Agent) (a answer) {
	ctx, cancel := context.WithTimeout(ctx, nodeTimeout)
	defer cancel()
	agent, err := r.Dial.Agent(x.UUID, x.Endpoint)
	if err != nil {
		return answer{err: err}
	}
	resp, err := agent.ListTraces(ctx, &nodepb.ListTracesRequest{})
	if err != nil {
		return answer{err: err}
	}
	a.rules = resp.GetRules()
	for _, x := range resp.GetLeftOut() {
		a.leftOut = append(a.leftOut, LeftOut{File: x.GetFile(), Reason: x.GetReason()})
	}
	for _, x := range resp.GetBridges() {
		b, err := bridge(x)
		if err != nil {
			return answer{err: err}
		}
		a.bridges = append(a.bridges, b)
	}
	for _, t := range resp.GetTraces() {
		id, err := uuid.Parse(t.GetUuid())
		if err != nil {
			return answer{err: fmt.Errorf("the agent lists %.40q", t.GetUuid())}
		}
		a.traces = append(a.traces, Trace{UUID: id, Defined: t.GetDefined(), Disks: t.GetDisks(), Seed: t.GetSeed(), Partial: t.GetPartial()})
	}
	return a
}

// bridge converts what a node lists of a bridge.
func bridge(x *nodepb.Bridge) (b Bridge, err error) {
	b.Name = x.GetName()
	if b.Addresses, err = prefixes(x.GetAddresses()); err != nil {
		return b, err
	}
	b.NAT, err = prefixes(x.GetNat())
	return b, err
}

func prefixes(texts []string) ([]netip.Prefix, error) {
	list := make([]netip.Prefix, len(texts))
	for i, s := range texts {
		var err error
		if list[i], err = netip.ParsePrefix(s); err != nil {
			return nil, fmt.Errorf("the agent lists %.60q", s)
		}
	}
	return list, nil
}

// held lists all addresses that have an owner, page by page.
func (r Reader) held(ctx context.Context) ([]Held, error) {
	var list []Held
	for after := int32(0); ; {
		resp, err := r.Ledger.ListHeld(ctx, &ippb.ListHeldRequest{After: after})
		if err != nil {
			return nil, err
		}
		if len(resp.GetHeld()) == 0 {
			return list, nil
		}
		for _, h := range resp.GetHeld() {
			list = append(list, Held{ID: h.GetId(), Addr: h.GetIpAddr(), Owner: h.GetOwner(), Assigned: h.GetAssigned(), Account: h.GetAccount()})
			after = h.GetId()
		}
	}
}

// accounts lists the ids of all accounts, page by page. It returns nil with an error.
func (r Reader) accounts(ctx context.Context) (map[int32]bool, error) {
	all := map[int32]bool{}
	for after := int32(0); ; {
		resp, err := r.Users.ListUserIDs(ctx, &authpb.ListUserIDsRequest{After: after})
		if err != nil {
			return nil, err
		}
		if len(resp.GetIds()) == 0 {
			return all, nil
		}
		for _, id := range resp.GetIds() {
			all[id], after = true, id
		}
	}
}
