package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"slipway.dev/pkg/pg/pgembed"
)

// start measures the time until everything answers, private PostgreSQL included, and the memory at rest.
func (b *bench) start(context.Context) error {
	var took []time.Duration
	var memory []int
	for range b.rounds {
		at := time.Now()
		p, err := b.up("sim", "start", "")
		if err != nil {
			return err
		}
		took = append(took, time.Since(at))
		time.Sleep(2 * time.Second) // at rest: what starting needed is given back
		memory = append(memory, p.memory())
		p.stop()
	}
	b.row("first start to ready, database made", ms(took[0]), "bar 5 s", ratio(took[0].Seconds(), 5))
	b.row("later start to ready", ms(median(took[1:])), "bar 5 s", ratio(median(took[1:]).Seconds(), 5))
	b.row("memory at rest, one process", fmt.Sprintf("%d MiB", median(memory)), "bar 150 MiB", ratio(float64(median(memory)), 150))
	return nil
}

func ratio(x, of float64) string { return fmt.Sprintf("%.0f %%", 100*x/of) }

// get measures one host, authenticated, against net/http + pgx + encoding/json with the same SQL and no authentication.
func (b *bench) get(ctx context.Context) error {
	p, a, err := b.open("sim", "get", b.url)
	if err != nil {
		return err
	}
	defer p.stop()
	m, _, err := a.host("bench")
	if err != nil {
		return err
	}
	floor, stopFloor, err := b.floor(ctx, b.url, "")
	if err != nil {
		return err
	}
	defer stopFloor()
	one := target{name: "slipway", url: fmt.Sprintf("%s/vm/v3/host/%d", p.url, m.ID), token: a.token}
	bare := target{name: "floor", url: fmt.Sprintf("%s/host/%d", floor, m.ID)}
	r, err := b.compare(ctx, bare, one)
	if err != nil {
		return err
	}
	b.row("floor: GET one host", figures(r[0]), fmt.Sprintf("%d bytes", r[0].bytes), "")
	b.row("GET one host, one process", figures(r[1]), fmt.Sprintf("floor, %d bytes; bar 60 %%", r[1].bytes), ratio(r[1].rps, r[0].rps))
	b.row("p99 over p50, 16 connections", ms(r[1].p99), ms(r[1].p50)+"; bar 5 ×", fmt.Sprintf("%.1f ×", float64(r[1].p99)/float64(r[1].p50)))
	b.row("memory after that load, one process", fmt.Sprintf("%d MiB", p.memory()), "", "")
	return b.separate(ctx, bare)
}

func figures(r result) string {
	return fmt.Sprintf("%.0f/s, p50 %s, p99 %s", r.rps, ms(r.p50), ms(r.p99))
}

// floor starts the floor as a process of its own.
func (b *bench) floor(ctx context.Context, database, page string) (url string, stop func(), err error) {
	addr, err := freePort()
	if err != nil {
		return "", nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return "", nil, err
	}
	inner := &bench{bin: filepath.Dir(self), dir: b.dir}
	p, err := inner.launch(filepath.Base(self), silent, []string{"FLOOR_POSTGRES_URL=" + database, "FLOOR_PAGE=" + page}, "-floor", addr)
	if err != nil {
		return "", nil, err
	}
	for range 100 {
		if _, err = get(ctx, httpClient, target{url: "http://" + addr + "/ready"}); err == nil {
			return "http://" + addr, p.stop, nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	p.stop()
	return "", nil, fmt.Errorf("the floor does not answer: %w", err)
}

// create measures creates of simulated machines, which show only Slipway's own cost: the time of one create, the rate
// of accepted creates with few workers, and the rate of completed ones with all workers; then of real machines.
func (b *bench) create(ctx context.Context) error {
	var single []time.Duration
	if err := b.withStack(ctx, "create", func(a *api) error {
		for i := range 30 {
			m, took, err := a.host(fmt.Sprintf("one%d", i))
			if err != nil {
				return err
			}
			single = append(single, took)
			if err := a.remove(m); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		return err
	}
	b.row("create to active, simulated machine", ms(median(single)), "", "")
	var accepted, completed []float64
	for i := range b.rounds {
		if err := b.withStack(ctx, fmt.Sprintf("accept%d", i), func(a *api) error {
			took, _, err := bulk(a)
			accepted = append(accepted, bulkHosts/took.Seconds())
			return err
		}, "SLIPWAY_VM_WORKERS=1"); err != nil {
			return err
		}
		if err := b.withStack(ctx, fmt.Sprintf("complete%d", i), func(a *api) error {
			_, list, err := bulk(a)
			if err != nil {
				return err
			}
			start := list[0]
			for _, m := range list {
				if err := a.wait(m.Task); err != nil {
					return err
				}
			}
			completed = append(completed, bulkHosts/time.Since(start.at).Seconds())
			return nil
		}); err != nil {
			return err
		}
	}
	b.row("creates accepted, one worker", fmt.Sprintf("%.0f/s", median(accepted)), "bar 500/s", ratio(median(accepted), 500))
	b.row("creates completed, simulated machines, 2 cores", fmt.Sprintf("%.0f/s", median(completed)), "bar 100/s a core", ratio(median(completed), 200))
	return b.real(ctx)
}

// withStack runs f on a fresh stack with simulated machines.
func (b *bench) withStack(ctx context.Context, name string, f func(*api) error, env ...string) error {
	db, err := pgembed.Start(ctx, pgembed.Config{Dir: filepath.Join(b.dir, "postgres-"+name)})
	if err != nil {
		return err
	}
	defer db.Stop(context.WithoutCancel(ctx)) //nolint:errcheck // its data is thrown away
	p, a, err := b.open("sim", name, db.URL(), env...)
	if err != nil {
		return err
	}
	defer p.stop()
	return f(a)
}

const bulkHosts = 400

// bulk makes hosts at once, without addresses so that the first network is not the limit.
func bulk(a *api) (took time.Duration, list []made, err error) {
	const clients = 16
	list = make([]made, bulkHosts)
	errs := make([]error, clients)
	var wg sync.WaitGroup
	start := time.Now()
	for c := range clients {
		wg.Go(func() {
			for i := c; i < bulkHosts && errs[c] == nil; i += clients {
				body := hostBody(fmt.Sprintf("bulk%d", i))
				body["ipv4_number"] = 0
				list[i].at = start
				errs[c] = a.do("POST", "/vm/v3/host", body, &list[i])
			}
		})
	}
	wg.Wait()
	return time.Since(start), list, errors.Join(errs...)
}
