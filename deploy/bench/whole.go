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
)

// wholeBar is how much more memory a process may hold while it answers a list without a limit, in MiB.
const wholeBar = 40

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
