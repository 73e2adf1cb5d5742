package simulate

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	ippb "slipway.dev/proto/ip/v3"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/jobs"
	"slipway.dev/pkg/pg"
	"slipway.dev/services/vm/internal/account"
	"slipway.dev/services/vm/internal/address"
	"slipway.dev/services/vm/internal/disk"
	hosts "slipway.dev/services/vm/internal/host"
	"slipway.dev/services/vm/internal/ipchange"
	"slipway.dev/services/vm/internal/machine"
	nodes "slipway.dev/services/vm/internal/node"
	"slipway.dev/services/vm/internal/power"
)

// What requests do is a model of server: the same rules of domain and the same units of work, without what checks and names.

func job(kind string, h *hosts.Host, keys ...string) jobs.New {
	return jobs.New{
		Kind: kind, Key: hostKey(h.ID), AccountID: h.AccountID, NodeID: h.NodeID, Args: machine.Args{ID: h.ID, UUID: h.UUID.String(), Force: true, Keys: keys},
	}
}

// ask has a replica answer a request.
func (w *world) ask(p *process, verb, name string) {
	w.mu.Lock()
	g := w.guests[name]
	if g == nil {
		g = &guest{name: name, uuid: uuid.NewSHA1(uuid.Nil, []byte(name))}
		w.guests[name], w.names[g.uuid.String()] = g, name
	}
	w.mu.Unlock()
	w.asked.Go(func() {
		ctx, end := context.WithTimeout(context.Background(), 30*time.Second)
		defer end()
		task, err := p.answer(ctx, verb, g)
		if p.gone() {
			err = errDead
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		if err != nil {
			w.say("%s: %s %s is refused: %s", p.name, verb, name, reason(err))
			return
		}
		w.say("%s: %s %s is accepted, task %d", p.name, verb, name, task)
		g.deleted = g.deleted || verb == "delete"
		p.runner.Poke()
	})
}

var powerVerbs = map[string]struct {
	kind   string
	change func(*hosts.Host) error
}{
	"start":   {"host_start", power.Start},
	"stop":    {"host_stop", power.Stop},
	"restart": {"host_restart", power.Restart},
}

func (p *process) answer(ctx context.Context, verb string, g *guest) (task int32, err error) {
	switch verb {
	case "create":
		return p.create(ctx, g)
	case "delete":
		return p.change(ctx, verb, g, func(t tx, h *hosts.Host) (jobs.New, error) {
			if err := h.MarkDeleting(); err != nil {
				return jobs.New{}, err
			}
			return job("host_delete", h), t.Cancel(ctx, hostKey(h.ID))
		})
	case "addip":
		return p.addIP(ctx, g)
	case "delip":
		return p.moveIPs(ctx, g, nil, nil)
	default:
		return p.change(ctx, verb, g, func(_ tx, h *hosts.Host) (jobs.New, error) {
			return job(powerVerbs[verb].kind, h), powerVerbs[verb].change(h)
		})
	}
}

// change is a unit of work that records a change of a host and the job that makes it.
func (p *process) change(ctx context.Context, verb string, g *guest, wish func(tx, *hosts.Host) (jobs.New, error)) (task int32, err error) {
	err = rows{p.w.mem, p.intercept}.inTx(ctx, verb+" "+g.name, func(t tx) error {
		h, err := t.Host(ctx, g.id, 0)
		if err != nil {
			return err
		}
		n, err := wish(t, h)
		if err != nil {
			return err
		}
		if err := t.SaveHost(ctx, h); err != nil {
			return err
		}
		j, err := t.Enqueue(ctx, n)
		task = j.ID
		return err
	})
	return task, err
}

const ramMiB, diskMiB = 512, 100

func (p *process) create(ctx context.Context, g *guest) (task int32, err error) {
	id := g.uuid.String()
	got, err := ipClient{p: p}.Reserve(ctx, &ippb.ReserveRequest{Owner: id, Key: id, Ipv4Count: 1, LapseSeconds: 300})
	if err != nil {
		return 0, err
	}
	size := nodes.Size{CPUs: 1, RAM: ramMiB, Disk: diskMiB}
	err = rows{p.w.mem, p.intercept}.inTx(ctx, "create "+g.name, func(t tx) error {
		if t.isHost(id) {
			return fault.Invalid // a UUID is made anew for each request; here for each name
		}
		h := &hosts.Host{
			UUID: g.uuid, Name: g.name, Hostname: g.name, State: hosts.Creating, Wanted: hosts.WantActive, AccountID: 1, ClusterID: 1, OSID: 1,
			CPUs: 1, RAM: ramMiB, MAC: hosts.MAC(g.uuid),
		}
		if h.NodeID, err = t.Choose(ctx, 1, 0, 1, size); err != nil {
			return err
		}
		if err := t.InsertHost(ctx, h, []disk.Disk{{Name: "disk0", SizeMiB: diskMiB}}, held(got)); err != nil {
			return err
		}
		j, err := t.Enqueue(ctx, job("host_create", h))
		if err != nil {
			return err
		}
		task, g.id = j.ID, h.ID // the id is known to who asks by name, whatever is heard
		return t.Take(ctx, h, account.Usage{1, 1, ramMiB, diskMiB, 1}, size)
	})
	if err != nil && !errors.Is(err, pg.ErrUnknownCommit) {
		_, _ = ipClient{p: p}.Release(ctx, &ippb.ReleaseRequest{Owner: id, Key: id})
	}
	return task, err
}

func held(got *ippb.ReserveResponse) (list []address.Address) {
	for _, a := range got.GetAddresses() {
		list = append(list, address.Address{
			IPID: a.GetId(), Family: 4, Prefix: 24, Addr: a.GetIpAddr(), Mask: a.GetMask(), Gateway: a.GetGateway(),
			State: address.Active, Generation: a.GetGeneration(),
		})
	}
	return list
}

func (p *process) addIP(ctx context.Context, g *guest) (task int32, err error) {
	p.w.mu.Lock()
	key := uuid.NewSHA1(uuid.Nil, fmt.Append(nil, g.name, time.Now())).String()
	p.w.mu.Unlock()
	got, err := ipClient{p: p}.Reserve(ctx, &ippb.ReserveRequest{Owner: g.uuid.String(), Key: key, Ipv4Count: 1, LapseSeconds: 3600})
	if err == nil {
		task, err = p.moveIPs(ctx, g, held(got), []string{key})
	}
	if err != nil && !errors.Is(err, pg.ErrUnknownCommit) {
		_, _ = ipClient{p: p}.Release(ctx, &ippb.ReleaseRequest{Owner: g.uuid.String(), Key: key})
	}
	return task, err
}

// moveIPs records that a host gets addresses, or loses its last one.
func (p *process) moveIPs(ctx context.Context, g *guest, add []address.Address, keys []string) (task int32, err error) {
	verb := map[bool]string{true: "delip", false: "addip"}[add == nil]
	err = rows{p.w.mem, p.intercept}.inTx(ctx, verb+" "+g.name, func(t tx) error {
		h, err := t.Host(ctx, g.id, 0)
		if err != nil {
			return err
		}
		if h.State == hosts.Deleting {
			return hosts.ErrDeleting
		}
		list, err := t.Addresses(ctx, g.id)
		if err != nil {
			return err
		}
		n, gone := job("ip_change", h, keys...), []address.Address(nil)
		if add == nil {
			n.Kind = "ip_delete"
			if gone, err = (&ipchange.Change{IPv4: -1}).Surplus(list); err != nil {
				return err
			}
		}
		j, err := t.Enqueue(ctx, n)
		if err != nil {
			return err
		}
		task = j.ID
		if err := t.Charge(ctx, 1, account.Usage{account.IPv4Number: int64(len(add))}); err != nil {
			return err
		}
		return t.ChangeAddresses(ctx, g.id, j.ID, add, gone)
	})
	return task, err
}
