package main

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"slipway.dev/deploy/seed"
	"slipway.dev/pkg/pg/pgembed"
)

// quiet keeps vm from asking the nodes of an estate, which do not exist.
const quiet = "SLIPWAY_VM_WATCH_EVERY=24h"

// unchecked keeps vm from the check of the installation, which holds the whole estate in memory for minutes.
const unchecked = "SLIPWAY_VM_FSCK_EVERY=24h"

// onePage is a page of fifty of the hosts of one account, filtered, ordered and counted.
const onePage = "/vm/v3/host?where=(account.id+EQ+2)&orderby=name+asc&limit=0,50"

// lists measures a page of 50 of 100k hosts, against net/http + pgx + encoding/json with the same SQL and no
// authentication, in one process and in separate ones; and its slowest answers under many clients.
func (b *bench) lists(ctx context.Context) error {
	const hosts = 100_000
	return b.withEstate(ctx, "lists", seed.Size{Hosts: hosts}, func(url string, p *process, a *api) error {
		floor, stop, err := b.pageFloor(ctx, url, a)
		if err != nil {
			return err
		}
		defer stop()
		bare := target{name: "floor page", url: floor + "/page"}
		one := target{name: "page", url: a.url + onePage, token: a.token}
		many := target{name: "page, 64 connections", url: a.url + onePage, token: a.token, conns: 64}
		r, err := b.compare(ctx, bare, one, many)
		if err != nil {
			return err
		}
		b.row("floor: page of 50 of 100k hosts, ordered and counted", figures(r[0]), fmt.Sprintf("%d bytes", r[0].bytes), "")
		b.row("the page, authenticated, one process", figures(r[1]), fmt.Sprintf("floor, %d bytes; bar 60 %%", r[1].bytes), ratio(r[1].rps, r[0].rps))
		b.row("p99 over p50 of the page, 64 connections", ms(r[2].p99), ms(r[2].p50)+"; bar 5 ×", fmt.Sprintf("%.1f ×", float64(r[2].p99)/float64(r[2].p50)))
		p.stop()
		return b.withProcesses(ctx, "listing", url, func(a *api, _ []*process) error {
			r, err := b.compare(ctx, bare, target{name: "page, separate", url: a.url + onePage, token: a.token})
			if err != nil {
				return err
			}
			b.row("the page, separate processes over mTLS", figures(r[1]), fmt.Sprintf("floor %.0f/s; bar 40 %%", r[0].rps), ratio(r[1].rps, r[0].rps))
			return nil
		})
	})
}

// pageFloor starts the floor with the statements that the stack says it runs.
func (b *bench) pageFloor(ctx context.Context, url string, a *api) (string, func(), error) {
	var e struct {
		Explain explained `json:"explain"`
	}
	if err := a.do("GET", onePage+"&explain=1", nil, &e); err != nil {
		return "", nil, err
	}
	text, err := json.Marshal(e.Explain)
	if err != nil {
		return "", nil, err
	}
	return b.floor(ctx, "FLOOR_POSTGRES_URL="+url, "FLOOR_PAGE="+string(text))
}

// scaled lists filters that must stay O(page) as hosts grow. Each selects the same number of rows at every scale.
var scaled = []struct{ name, where string }{
	{"no filter", ""},
	{"id", "id EQ 500"},
	{"state, a quarter", "state EQ 'stopped'"},
	{"state, most", "state EQ 'active'"},
	{"name prefix", "name CP 'web-0001%'"},
	{"cluster", "cluster.id EQ 2"},
	{"node", "node.id EQ 2"},
	{"account", "account.id EQ %d"},
	{"ip", "ip4 EQ '100.64.1.44'"},
}

// scale measures the same pages of a small and of a large estate, size included.
func (b *bench) scale(ctx context.Context) error {
	const small = 1000
	if b.hosts == 0 {
		return nil
	}
	return b.withEstate(ctx, "small", seed.Size{Hosts: small}, func(_ string, _ *process, few *api) error {
		at := time.Now()
		return b.withEstate(ctx, "large", seed.Size{Hosts: b.hosts}, func(_ string, _ *process, many *api) error {
			b.row("estate of "+strconv.Itoa(b.hosts)+" hosts made", time.Since(at).Round(time.Second).String(), "", "")
			for _, s := range scaled {
				r, err := b.compare(ctx, page(few, s.where, small), page(many, s.where, b.hosts))
				if err != nil {
					return err
				}
				b.row("by "+s.name, fmt.Sprintf("%s of %d bytes", figures(r[1]), r[1].bytes),
					fmt.Sprintf("1k hosts: %.0f/s of %d bytes; bar 1.5 ×", r[0].rps, r[0].bytes), fmt.Sprintf("%.2f ×", r[0].rps/r[1].rps))
			}
			return nil
		})
	})
}

// page is a page of fifty. An account in the middle has as many hosts in an estate of any size.
func page(a *api, where string, hosts int) target {
	if where == scaled[7].where {
		where = fmt.Sprintf(where, hosts/40)
	}
	return target{name: where, url: a.url + "/vm/v3/host?limit=0,50&where=" + escape(where), token: a.token}
}

// withEstate runs f on a stack whose database holds an estate of this size.
func (b *bench) withEstate(ctx context.Context, name string, size seed.Size, f func(url string, p *process, a *api) error) error {
	db, err := pgembed.Start(ctx, pgembed.Config{Dir: filepath.Join(b.dir, "postgres-"+name)})
	if err != nil {
		return err
	}
	defer db.Stop(context.WithoutCancel(ctx)) //nolint:errcheck // its data is thrown away
	p, err := b.up("sim", name, db.URL(), quiet, unchecked)
	if err != nil {
		return err
	}
	defer p.stop()
	if err := seed.FillSize(ctx, db.URL(), size, func(string) {}); err != nil {
		return err
	}
	a, err := b.login(p.url)
	if err != nil {
		return err
	}
	return f(db.URL(), p, a)
}

func escape(where string) string { return strings.NewReplacer(" ", "+", "%", "%25").Replace(where) }
