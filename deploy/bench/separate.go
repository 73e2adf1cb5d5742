package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats-server/v2/server"

	"slipway.dev/deploy/parts"
	"slipway.dev/pkg/pg/pgembed"
	"slipway.dev/pkg/pki"
)

var httpClient = http.DefaultClient

// separate measures GET with each service as a process of its own, over mTLS.
func (b *bench) separate(ctx context.Context, floor target) error {
	db, err := pgembed.Start(ctx, pgembed.Config{Dir: filepath.Join(b.dir, "postgres-separate")})
	if err != nil {
		return err
	}
	defer db.Stop(context.WithoutCancel(ctx)) //nolint:errcheck // its data is thrown away
	return b.withProcesses(ctx, "separate", db.URL(), func(a *api, running []*process) error {
		m, err := a.firstHost()
		if err != nil {
			return err
		}
		split := target{name: "separate processes", url: fmt.Sprintf("%s/vm/v3/host/%d", a.url, m.ID), token: a.token}
		r, err := b.compare(ctx, floor, split)
		if err != nil {
			return err
		}
		b.row("GET one host, separate processes over mTLS", figures(r[1]), fmt.Sprintf("floor %.0f/s; bar 45 %%", r[0].rps), ratio(r[1].rps, r[0].rps))
		for i, p := range parts.All() {
			b.row("memory under load, "+p.Name, fmt.Sprintf("%d MiB", running[i].memory()), "bar 60 MiB", ratio(float64(running[i].memory()), 60))
		}
		return nil
	})
}

// withProcesses runs f on a stack of separate processes with this database.
func (b *bench) withProcesses(ctx context.Context, name, database string, f func(a *api, running []*process) error) error {
	nats, err := b.nats("nats-" + name)
	if err != nil {
		return err
	}
	defer nats.Shutdown()
	certs := filepath.Join(b.dir, "certs-"+name)
	addr, names, services := map[string]string{}, []string{}, []string{}
	for _, p := range parts.All() {
		if addr[p.Name], err = freePort(); err != nil {
			return err
		}
		names = append(names, p.Name)
		if p.Migrate != nil {
			services = append(services, p.Name+"="+addr[p.Name])
		}
	}
	if err := errors.Join(pki.Write(certs, time.Hour, names...), pki.WriteNode(certs, time.Hour, uuid.New())); err != nil {
		return err
	}
	b.vm = addr["vm"]
	var running []*process
	defer func() {
		for _, p := range running {
			p.stop()
		}
	}()
	own := []string{
		"SLIPWAY_LOG=warn", quiet, unchecked, "SLIPWAY_AUTH_ADMIN_PASSWORD=bench", "SLIPWAY_AUTH_MASTER_KEY=" + b.master,
		"SLIPWAY_NODE_HYPERVISOR=sim", "SLIPWAY_NODE_ROOT=" + filepath.Join(b.dir, "node-"+name), "SLIPWAY_NODE_VM=" + addr["vm"],
		"SLIPWAY_NODE_STACK_ID=bench", "SLIPWAY_NODE_ENDPOINT=" + addr["node"], "SLIPWAY_NODE_TEMPLATES=" + filepath.Join(b.bin, "templates"),
	}
	for _, p := range parts.All() {
		proc, err := b.launch(p.Program(), silent, append(own,
			p.Prefix()+"DATABASE="+database, p.Prefix()+"NATS="+nats.ClientURL(), p.Prefix()+"CERTS="+certs,
			p.Prefix()+"LISTEN="+addr[p.Name], p.Prefix()+"SERVICES="+strings.Join(services, ",")))
		if err != nil {
			return err
		}
		running = append(running, proc)
	}
	url := "http://" + addr["gateway"]
	if err := awaitHTTP(ctx, url+"/readyz"); err != nil {
		return err
	}
	a, err := b.login(url)
	if err != nil {
		return err
	}
	return f(a, running)
}

// nats starts a NATS server in this process that keeps its data in a directory of this name.
func (b *bench) nats(dir string) (*server.Server, error) {
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: filepath.Join(b.dir, dir), NoSigs: true})
	if err != nil {
		return nil, err
	}
	s.Start()
	if !s.ReadyForConnections(10 * time.Second) {
		s.Shutdown()
		return nil, errors.New("nats is not ready")
	}
	return s, nil
}

// firstHost makes a host without an address once the node has registered and its template is known.
func (a *api) firstHost() (m made, err error) {
	body := hostBody("bench")
	body["ipv4_number"] = 0
	for range 100 {
		if err = a.do("POST", "/vm/v3/host", body, &m); err == nil {
			return m, a.wait(m.Task)
		}
		time.Sleep(100 * time.Millisecond)
	}
	return m, err
}
