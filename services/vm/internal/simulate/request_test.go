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
	"slipway.dev/services/vm/internal/domain"
	"slipway.dev/services/vm/internal/store"
	"slipway.dev/services/vm/internal/work"
)

// What requests do is a model of server: the same rules of domain and the same units of work, without what checks and names.

func job(kind string, h *domain.Host, keys ...string) jobs.New {
	return jobs.New{
		Kind: kind, Key: store.HostKey(h.ID), AccountID: h.AccountID, Args: work.Host{ID: h.ID, UUID: h.UUID.String(), Force: true, Keys: keys},
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

var wishVerbs = map[string]struct {
	kind string
	wish func(*domain.Host) error
}{
	"start":   {work.HostStart, (*domain.Host).Start},
	"stop":    {work.HostStop, (*domain.Host).Stop},
	"restart": {work.HostRestart, (*domain.Host).Restart},
}

func (p *process) answer(ctx context.Context, verb string, g *guest) (task int32, err error) {
	switch verb {
	case "create":
		return p.create(ctx, g)
	case "delete":
		return p.change(ctx, verb, g, func(t tx, h *domain.Host) (jobs.New, error) {
			if err := h.Delete(); err != nil {
				return jobs.New{}, err
			}
			return job(work.HostDelete, h), t.Cancel(ctx, store.HostKey(h.ID))
		})
	case "addip":
		return p.addIP(ctx, g)
	case "delip":
		return p.moveIPs(ctx, g, nil, nil)
	default:
		return p.change(ctx, verb, g, func(_ tx, h *domain.Host) (jobs.New, error) {
			return job(wishVerbs[verb].kind, h), wishVerbs[verb].wish(h)
		})
	}
}

// change is a unit of work that records a wish for a host and the job that fulfils it.
func (p *process) change(ctx context.Context, verb string, g *guest, wish func(tx, *domain.Host) (jobs.New, error)) (task int32, err error) {
	err = rows{p.w.mem, p.door}.inTx(ctx, verb+" "+g.name, func(t tx) error {
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

const ram, disk = 512, 100

func (p *process) create(ctx context.Context, g *guest) (task int32, err error) {
	id := g.uuid.String()
	got, err := ipClient{p: p}.Reserve(ctx, &ippb.ReserveRequest{Owner: id, Key: id, Ipv4Count: 1, LapseSeconds: 300})
	if err != nil {
		return 0, err
	}
	size := store.Size{CPUs: 1, RAM: ram, Disk: disk}
	err = rows{p.w.mem, p.door}.inTx(ctx, "create "+g.name, func(t tx) error {
		if t.isHost(id) {
			return fault.Invalid // a UUID is made anew for each request; here for each name
		}
		h := &domain.Host{
			UUID: g.uuid, Name: g.name, Hostname: g.name, State: domain.Creating, Wanted: domain.WantActive, AccountID: 1, ClusterID: 1, OSID: 1,
			CPUs: 1, RAM: ram, MAC: domain.MAC(g.uuid),
		}
		if h.NodeID, err = t.Choose(ctx, 1, 0, 1, size); err != nil {
			return err
		}
		if err := t.InsertHost(ctx, h, []domain.Disk{{Name: "disk0", SizeMiB: disk}}, held(got)); err != nil {
			return err
		}
		j, err := t.Enqueue(ctx, job(work.HostCreate, h))
		if err != nil {
			return err
		}
		task, g.id = j.ID, h.ID // the id is known to who asks by name, whatever is heard
		return t.Take(ctx, h, domain.Usage{1, 1, ram, disk, 1}, size)
	})
	if err != nil && !errors.Is(err, pg.ErrUnknownCommit) {
		_, _ = ipClient{p: p}.Release(ctx, &ippb.ReleaseRequest{Owner: id, Key: id})
	}
	return task, err
}

func held(got *ippb.ReserveResponse) (list []domain.Address) {
	for _, a := range got.GetAddresses() {
		list = append(list, domain.Address{
			IPID: a.GetId(), Family: 4, Prefix: 24, Addr: a.GetIpAddr(), Mask: a.GetMask(), Gateway: a.GetGateway(),
			State: domain.AddressActive, Generation: a.GetGeneration(),
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
func (p *process) moveIPs(ctx context.Context, g *guest, add []domain.Address, keys []string) (task int32, err error) {
	verb := map[bool]string{true: "delip", false: "addip"}[add == nil]
	err = rows{p.w.mem, p.door}.inTx(ctx, verb+" "+g.name, func(t tx) error {
		h, err := t.Host(ctx, g.id, 0)
		if err != nil {
			return err
		}
		if h.State == domain.Deleting {
			return domain.ErrDeleting
		}
		list, err := t.Addresses(ctx, g.id)
		if err != nil {
			return err
		}
		n, gone := job(work.IPChange, h, keys...), []domain.Address(nil)
		if add == nil {
			n.Kind = work.IPDelete
			if gone, err = (&domain.NewIPs{IPv4: -1}).Surplus(list); err != nil {
				return err
			}
		}
		j, err := t.Enqueue(ctx, n)
		if err != nil {
			return err
		}
		task = j.ID
		if err := t.Charge(ctx, 1, domain.Usage{domain.IPv4Number: int64(len(add))}); err != nil {
			return err
		}
		return t.ChangeAddresses(ctx, g.id, j.ID, add, gone)
	})
	return task, err
}
