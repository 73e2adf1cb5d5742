package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"slipway.dev/deploy/parts"
	"slipway.dev/deploy/seed"
)

// wholeBar is how much more memory a process may hold while it answers a list without a limit, in MiB.
const wholeBar = 40

// wholes measures the list of all hosts of the large estate, in one process and in separate ones.
func (b *bench) wholes(ctx context.Context) error {
	if b.hosts == 0 {
		return nil
	}
	// A vm that has just started looks at all nodes, in proportion 16,000 of them, and keeps some 8 KiB for each. That falls into
	// the time of the list, and is no cost of it.
	return b.withEstate(ctx, "whole", seed.Size{Hosts: b.hosts, Nodes: 16}, func(url string, p *process, a *api) error {
		if err := b.whole(ctx, "one process", a, b.hosts, p); err != nil {
			return err
		}
		p.stop()
		return b.withProcesses(ctx, "whole", url, func(a *api, running []*process) error {
			return b.whole(ctx, "separate processes", a, b.hosts, running...)
		})
	})
}

// whole measures the list of all hosts, without a limit, and how much more memory each of the processes holds meanwhile. A list
// before that has each of them hold what any work makes it hold.
func (b *bench) whole(ctx context.Context, what string, a *api, hosts int, running ...*process) error {
	if _, _, err := a.read(ctx, "/vm/v3/host?limit=5000", hosts, func() {}); err != nil {
		return err
	}
	before, most := make([]int, len(running)), make([]int, len(running))
	for i, p := range running {
		before[i] = p.memory()
	}
	start := time.Now()
	n, next, err := a.read(ctx, "/vm/v3/host", hosts, func() {
		for i, p := range running {
			most[i] = max(most[i], p.memory()-before[i])
		}
	})
	if err != nil {
		return err
	}
	if !strings.HasSuffix(next, fmt.Sprintf(`"size":%d}`, hosts)) {
		return fmt.Errorf("the list of all hosts ends with %q", next)
	}
	more := make([]string, len(running))
	for i := range running {
		more[i] = fmt.Sprintf("+%d", most[i])
		if len(running) > 1 {
			more[i] = parts.All()[i].Name + " " + more[i]
		}
	}
	b.row(fmt.Sprintf("all of %d hosts in one list, %s", hosts, what), fmt.Sprintf("%d MB in %s", n/1_000_000, time.Since(start).Round(time.Second)),
		fmt.Sprintf("bar +%d MiB", wholeBar), strings.Join(more, ", ")+" MiB")
	return nil
}

// read reads an answer, calling each after each part of it, and returns its length and its last bytes.
func (a *api) read(ctx context.Context, path string, hosts int, each func()) (n int, end string, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, a.url+path, http.NoBody)
	if err != nil {
		return 0, "", err
	}
	r.Header.Set("X-Xsrf-Token", a.token)
	resp, err := httpClient.Do(r)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return 0, "", fmt.Errorf("%s of %d hosts: %s", path, hosts, resp.Status)
	}
	part := make([]byte, 4<<20)
	var last []byte
	for {
		m, err := io.ReadFull(resp.Body, part)
		n += m
		if last = append(last, part[:m]...); len(last) > 64 {
			last = bytes.Clone(last[len(last)-64:])
		}
		each()
		switch err {
		case nil:
		case io.EOF, io.ErrUnexpectedEOF: // what ReadFull reports of a whole body that ends; a broken one has no end below
			return n, string(last), nil
		default:
			return n, "", err
		}
	}
}
