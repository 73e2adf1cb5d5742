package main

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"slipway.dev/deploy/seed"
	"slipway.dev/pkg/pg/pgembed"
)

// owned are the filters of a page of an account's own hosts, which must cost the same however many there are.
var owned = []struct{ name, where string }{
	{"no filter", ""},
	{"state, a quarter", "state EQ 'stopped'"},
	{"state, none", "state EQ 'deleting'"},
	{"cluster", "cluster.id EQ 2"},
}

// owner is a stack whose first account owns all hosts, seen by that account.
type owner struct {
	*api
	hosts int
}

// own measures pages of fifty with size that an account asks for its own hosts, by the processor time of stack and
// database.
func (b *bench) own(ctx context.Context) error {
	sizes := []int{1000, 100_000}
	if b.hosts > 0 {
		sizes = append(sizes, b.hosts)
	}
	return b.withOwners(ctx, sizes, nil, func(list []owner) error {
		for _, f := range owned {
			var least time.Duration
			for i, cost := range b.costs(ctx, list, f.where) {
				if cost.err != nil {
					return cost.err
				}
				if i == 0 {
					least = cost.page
				}
				b.row(fmt.Sprintf("page of 50 of %d own hosts: %s", list[i].hosts, f.name), fmt.Sprintf("%.2f ms of CPU", cost.page.Seconds()*1000),
					fmt.Sprintf("1k: %.2f ms; bar 1.3 ×", least.Seconds()*1000), fmt.Sprintf("%.2f ×", float64(cost.page)/float64(least)))
			}
		}
		return nil
	})
}

// withOwners runs f on a stack for each of the sizes.
func (b *bench) withOwners(ctx context.Context, sizes []int, list []owner, f func([]owner) error) error {
	if len(sizes) == 0 {
		return f(list)
	}
	name := fmt.Sprint("own", sizes[0])
	dir := filepath.Join(b.dir, "postgres-"+name)
	db, err := pgembed.Start(ctx, pgembed.Config{Dir: dir, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	defer db.Stop(context.WithoutCancel(ctx)) //nolint:errcheck // its data is thrown away
	p, err := b.up("sim", name, db.URL(), quiet)
	if err != nil {
		return err
	}
	defer p.stop()
	if err := seed.FillSize(ctx, db.URL(), seed.Size{Hosts: sizes[0], Own: sizes[0]}, func(string) {}); err != nil {
		return err
	}
	admin, err := b.login(p.url)
	if err != nil {
		return err
	}
	var key struct {
		Key string `json:"key"`
	}
	if err := admin.do("POST", "/auth/v4/user/user000001@example.com/key", map[string]string{}, &key); err != nil {
		return err
	}
	var session struct {
		Token string `json:"token"`
	}
	if err := admin.do("POST", "/auth/v4/public/key", map[string]string{"key": key.Key}, &session); err != nil {
		return err
	}
	o := owner{&api{url: p.url, token: session.Token, stack: p.cmd.Process.Pid, postgres: postmaster(dir)}, sizes[0]}
	return b.withOwners(ctx, sizes[1:], append(list, o), f)
}

// cost is the processor time of a page.
type cost struct {
	page time.Duration
	err  error
}

// costs measures a page of each owner, in turn, round after round, and returns the medians.
func (b *bench) costs(ctx context.Context, list []owner, where string) []cost {
	all, out := make([][]time.Duration, len(list)), make([]cost, len(list))
	for round := range b.rounds + 1 {
		for i, o := range list {
			t := target{name: where, url: o.url + "/vm/v3/host?limit=0,50&where=" + escape(where), token: o.token}
			before := cpuOf(o.stack) + cpuOfPostgres(o.postgres)
			r, err := load(ctx, t, b.length/2)
			if err != nil {
				out[i].err = err
				return out
			}
			used := cpuOf(o.stack) + cpuOfPostgres(o.postgres) - before
			if round > 0 { // the first one warms up
				all[i] = append(all[i], used/time.Duration(max(int(r.rps*r.took.Seconds()), 1)))
			}
		}
	}
	for i := range out {
		out[i].page = median(all[i])
	}
	return out
}
