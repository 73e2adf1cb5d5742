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
	floor, stopFloor, err := b.floor(ctx, "FLOOR_POSTGRES_URL="+b.url)
	if err != nil {
		return err
	}
	defer stopFloor()
	one := target{name: "slipway", url: fmt.Sprintf("%s/vm/v3/host/%d", p.url, m.ID), token: a.token}
	many := one
	many.name, many.conns = "slipway, 64 connections", 64
	bare := target{name: "floor", url: fmt.Sprintf("%s/host/%d", floor, m.ID)}
	r, err := b.compare(ctx, bare, one, many)
	if err != nil {
		return err
	}
	b.row("floor: GET one host", figures(r[0]), fmt.Sprintf("%d bytes", r[0].bytes), "")
	b.row("GET one host, one process", figures(r[1]), fmt.Sprintf("floor, %d bytes; bar 60 %%", r[1].bytes), ratio(r[1].rps, r[0].rps))
	for i, conns := range []int{16, 64} {
		x := r[i+1]
		b.row(fmt.Sprintf("p99 over p50, %d connections", conns), ms(x.p99), ms(x.p50)+"; bar 4 ×", fmt.Sprintf("%.1f ×", float64(x.p99)/float64(x.p50)))
	}
	b.row("memory after that load, one process", fmt.Sprintf("%d MiB", p.memory()), "", "")
	return b.separate(ctx, bare)
}

func figures(r result) string {
	return fmt.Sprintf("%.0f/s, p50 %s, p99 %s", r.rps, ms(r.p50), ms(r.p99))
}

// floor starts the floor as a process of its own, with these settings.
func (b *bench) floor(ctx context.Context, env ...string) (url string, stop func(), err error) {
	addr, err := freePort()
	if err != nil {
		return "", nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return "", nil, err
	}
	inner := &bench{bin: filepath.Dir(self), dir: b.dir}
	p, err := inner.launch(filepath.Base(self), silent, env, "-floor", addr)
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
	var m bulks
	for i := range b.rounds {
		if err := b.withStack(ctx, fmt.Sprint("bulk", i), m.measure); err != nil {
			return err
		}
	}
	b.row("creates accepted, all workers busy", fmt.Sprintf("%.0f/s", median(m.accepted)), "bar 400/s", ratio(median(m.accepted), 400))
	b.row("creates completed, simulated machines, 2 cores", fmt.Sprintf("%.0f/s", median(m.completed)), "bar 300/s", ratio(median(m.completed), 300))
	b.row("CPU of a create, with its job: stack · PostgreSQL", fmt.Sprintf("%.2f · %.2f ms", 1000*median(m.own), 1000*median(m.database)),
		"bar 4 ms", ratio(median(m.own)+median(m.database), 0.004))
	return b.real(ctx)
}

// bulks are measurements of many creates at once: rates, and processor time of one create in seconds.
type bulks struct{ accepted, completed, own, database []float64 }

// measure makes hosts at once, after others that prepare statements and connections.
func (m *bulks) measure(a *api) error {
	if _, err := bulk(a, "warm"); err != nil {
		return err
	}
	if err := a.active(bulkHosts); err != nil {
		return err
	}
	own, db, start := cpuOf(a.stack), cpuOfPostgres(a.postgres), time.Now()
	took, err := bulk(a, "bulk")
	if err != nil {
		return err
	}
	if err := a.active(2 * bulkHosts); err != nil {
		return err
	}
	m.accepted = append(m.accepted, bulkHosts/took.Seconds())
	m.completed = append(m.completed, bulkHosts/time.Since(start).Seconds())
	m.own = append(m.own, (cpuOf(a.stack)-own).Seconds()/bulkHosts)
	m.database = append(m.database, (cpuOfPostgres(a.postgres)-db).Seconds()/bulkHosts)
	return nil
}

// active returns when so many hosts are active. It asks seldom, because asking costs the stack processor time.
func (a *api) active(hosts int) error {
	for range 6000 {
		var l struct {
			Size int `json:"size"`
		}
		if err := a.do("GET", "/vm/v3/host?limit=1&where=(state+EQ+active)", nil, &l); err != nil {
			return err
		}
		if l.Size == hosts {
			return nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	return fmt.Errorf("%d hosts do not become active", hosts)
}

// withStack runs f on a fresh stack with simulated machines.
func (b *bench) withStack(ctx context.Context, name string, f func(*api) error, env ...string) error {
	dir := filepath.Join(b.dir, "postgres-"+name)
	db, err := pgembed.Start(ctx, pgembed.Config{Dir: dir})
	if err != nil {
		return err
	}
	defer db.Stop(context.WithoutCancel(ctx)) //nolint:errcheck // its data is thrown away
	p, a, err := b.open("sim", name, db.URL(), env...)
	if err != nil {
		return err
	}
	defer p.stop()
	a.stack, a.postgres = p.cmd.Process.Pid, postmaster(dir)
	return f(a)
}

const bulkHosts = 400

// bulk makes hosts at once, without addresses so that the first network is not the limit.
func bulk(a *api, name string) (took time.Duration, err error) {
	const clients = 16
	errs := make([]error, clients)
	var wg sync.WaitGroup
	start := time.Now()
	for c := range clients {
		wg.Go(func() {
			for i := c; i < bulkHosts && errs[c] == nil; i += clients {
				body := hostBody(fmt.Sprint(name, i))
				body["ipv4_number"] = 0
				errs[c] = a.do("POST", "/vm/v3/host", body, &made{})
			}
		})
	}
	wg.Wait()
	return time.Since(start), errors.Join(errs...)
}
