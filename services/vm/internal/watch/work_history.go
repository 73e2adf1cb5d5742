package watch

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/google/uuid"

	ippb "slipway.dev/proto/ip/v3"
	nodepb "slipway.dev/proto/node/v1"
	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/pkg/bus"
	"slipway.dev/pkg/pg"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/vm/internal/host"
	"slipway.dev/services/vm/internal/node"
)

const (
	// historiesEvery is how often vm looks for histories that are not settled: creates wait for that.
	historiesEvery = time.Second
	// patience is how long creates wait for the bus, and for a node that gave signs of life shortly ago and does not answer.
	patience = time.Minute
)

// Histories settles the histories of vm's and ip's data that may lack what was acknowledged.
type Histories struct {
	DB     *unit.DB
	Ledger ippb.LedgerServiceClient
	Bus    Sent

	since time.Time // when the open ones were first seen
}

// Sent is what the bus knows of events that were sent.
type Sent interface {
	Connected() bool
	// Last returns the last event of a service with a subject. ok is false if there is none.
	Last(ctx context.Context, service, subject string) (e bus.Event, ok bool, err error)
}

// open are the histories that are not settled.
type open struct{ vm, ip []pg.History }

func (o open) any() bool { return len(o.vm)+len(o.ip) > 0 }

// keepHistories settles histories until ctx ends. It logs the first failure in a row.
func (w *Watcher) keepHistories(ctx context.Context) {
	for troubled := false; ; {
		err := w.settleHistories(ctx)
		if err != nil && !troubled && ctx.Err() == nil {
			w.log.Warn("histories of the data", "err", err)
		}
		troubled = err != nil
		select {
		case <-ctx.Done():
			return
		case <-time.After(historiesEvery):
		}
	}
}

// settleHistories asks all nodes what they have, and settles the histories that were open before.
func (w *Watcher) settleHistories(ctx context.Context) error {
	o, err := w.past.open(ctx)
	if err != nil || !o.any() {
		return err
	}
	agents, err := w.store.Agents(ctx)
	if err != nil {
		return err
	}
	sights := make([]sight, len(agents))
	w.each(agents, func(i int) { sights[i] = w.sight(ctx, agents[i]) })
	if err := w.past.settle(ctx, o, sights); err != nil {
		return err
	}
	w.log.Warn("the database is on a new history; numbers went on and addresses of machines are held", "vm", o.vm, "ip", o.ip)
	return nil
}

// sight is what a node has.
type sight struct {
	node.Agent
	silence  error // why it is not known
	seen     []host.Observation
	holdings []Holding
}

// sight asks a node for its machines and their addresses.
func (w *Watcher) sight(ctx context.Context, a node.Agent) sight {
	resp, err := w.ask(ctx, a, &nodepb.ListMachinesRequest{Timeline: w.heard.guard.Seen(), Addresses: true})
	s := sight{Agent: a, silence: err, seen: observations(resp.GetMachines())}
	for _, m := range resp.GetMachines() {
		list, err := holdingsOf(m)
		s.holdings, s.silence = append(s.holdings, list...), errors.Join(s.silence, err)
	}
	return s
}

// open returns the histories that are not settled, nil for none.
func (h *Histories) open(ctx context.Context) (o open, err error) {
	if h == nil {
		return o, nil
	}
	if o.vm, err = pg.OpenHistories(ctx, h.DB); err != nil {
		return o, err
	}
	resp, err := h.Ledger.ListOpenHistories(ctx, &ippb.ListOpenHistoriesRequest{})
	if err != nil {
		return o, fmt.Errorf("histories of ip: %w", err)
	}
	for _, x := range resp.GetHistories() {
		o.ip = append(o.ip, pg.History{System: x.GetSystem(), Number: x.GetNumber()})
	}
	if !o.any() {
		h.since = time.Time{}
	} else if h.since.IsZero() {
		h.since = time.Now()
	}
	return o, nil
}

// settle takes in what the nodes have, and settles the histories that were open before the nodes were asked: numbers move
// on beyond all that were seen, and addresses that machines have are held. It waits for a node that gave signs of life.
func (h *Histories) settle(ctx context.Context, o open, sights []sight) error {
	var fence int64
	var id int32
	var list []Holding
	for _, s := range sights {
		if s.silence != nil && s.Alive && time.Since(h.since) < patience {
			return fmt.Errorf("creates wait for node %d: %w", s.ID, s.silence)
		}
		for _, x := range s.seen {
			if x.NodeID == s.UUID.String() {
				fence, id = max(fence, x.Fence), max(id, x.HostID)
			}
		}
		list = append(list, s.holdings...)
	}
	sent, err := h.lastSent(ctx)
	if err != nil {
		return err
	}
	if err := node.MoveOn(ctx, h.DB, fence, max(id, sent)); err != nil {
		return err
	}
	if list, err = unknown(ctx, h.DB, list); err != nil {
		return err
	}
	req := &ippb.SettleHistoriesRequest{}
	for _, x := range list {
		req.Seen = append(req.Seen, &ippb.SeenAddress{IpAddr: x.Address.String(), Machine: x.Machine.String()})
	}
	for _, x := range o.ip {
		req.Histories = append(req.Histories, &ippb.History{System: x.System, Number: x.Number})
	}
	if _, err := h.Ledger.SettleHistories(ctx, req); err != nil {
		return fmt.Errorf("hold addresses of machines: %w", err)
	}
	return pg.Settle(ctx, h.DB, o.vm)
}

// lastSent returns the id of the last host whose create reached the bus, 0 for none. A bus that is away knows nothing, nor does one
// that has not answered for as long as creates wait.
func (h *Histories) lastSent(ctx context.Context) (int32, error) {
	if !h.Bus.Connected() {
		return 0, nil
	}
	e, ok, err := h.Bus.Last(ctx, "vm", "vm.v3.host.created")
	if err != nil && time.Since(h.since) >= patience {
		return 0, nil
	}
	if err != nil || !ok {
		return 0, err
	}
	var m vmpb.HostChanged
	err = e.Decode(&m)
	return m.GetId(), err
}

// holdingsOf returns the addresses of a machine.
func holdingsOf(m *nodepb.Machine) (list []Holding, err error) {
	id, err := uuid.Parse(m.GetUuid())
	if err != nil {
		return nil, fmt.Errorf("machine %.50q: %w", m.GetUuid(), err)
	}
	for _, text := range m.GetAddresses() {
		a, parseErr := netip.ParseAddr(text)
		if parseErr != nil {
			err = errors.Join(err, fmt.Errorf("machine %s has the address %.50q", id, text))
			continue
		}
		list = append(list, Holding{id, a})
	}
	return list, err
}
