package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"
)

// result is one measurement.
type result struct {
	rps      float64
	p50, p99 time.Duration
	took     time.Duration // of the whole measurement
	bytes    int
}

// target is something to load.
type target struct {
	name  string
	url   string
	token string
	// conns are how many clients ask at once; 0 is 16.
	conns int
	// every is the interval between a client's requests; 0 means as soon as it has an answer. The time of a request
	// counts from its scheduled start.
	every time.Duration
}

// load makes GET requests on kept connections for a while. Any answer but 200 ends it.
func load(ctx context.Context, t target, length time.Duration) (result, error) {
	conns := t.conns
	if conns == 0 {
		conns = 16
	}
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: conns, DisableCompression: true}}
	defer client.CloseIdleConnections()
	deadline := time.Now().Add(length)
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex
		all   []time.Duration
		size  int
		first error
	)
	start := time.Now()
	for range conns {
		wg.Go(func() {
			var took []time.Duration
			for at := time.Now(); at.Before(deadline); at = t.next(at) {
				time.Sleep(time.Until(at))
				n, err := get(ctx, client, t)
				if err != nil {
					mu.Lock()
					first = err
					mu.Unlock()
					return
				}
				took = append(took, time.Since(at))
				size = n
			}
			mu.Lock()
			all = append(all, took...)
			mu.Unlock()
		})
	}
	wg.Wait()
	if first != nil {
		return result{}, fmt.Errorf("%s: %w", t.name, first)
	}
	slices.Sort(all)
	whole := time.Since(start)
	return result{
		rps: float64(len(all)) / whole.Seconds(), took: whole,
		p50: percentile(all, 0.50), p99: percentile(all, 0.99), bytes: size,
	}, nil
}

func (t target) next(last time.Time) time.Time {
	if t.every == 0 {
		return time.Now()
	}
	return last.Add(t.every)
}

func get(ctx context.Context, client *http.Client, t target) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, t.url, nil)
	if err != nil {
		return 0, err
	}
	if t.token != "" {
		req.Header.Set("x-xsrf-token", t.token)
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	n, err := io.Copy(io.Discard, resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("status %d", resp.StatusCode)
	}
	return int(n), err
}

// compare measures targets in turn, round after round, and returns the medians.
func (b *bench) compare(ctx context.Context, targets ...target) ([]result, error) {
	for _, t := range targets { // warm up
		if _, err := load(ctx, t, b.length/3); err != nil {
			return nil, err
		}
	}
	rps, p50, p99 := make([][]float64, len(targets)), make([][]time.Duration, len(targets)), make([][]time.Duration, len(targets))
	out := make([]result, len(targets))
	for range b.rounds {
		for i, t := range targets {
			r, err := load(ctx, t, b.length)
			if err != nil {
				return nil, err
			}
			rps[i], p50[i], p99[i] = append(rps[i], r.rps), append(p50[i], r.p50), append(p99[i], r.p99)
			out[i].bytes = r.bytes
		}
	}
	for i := range out {
		out[i].rps, out[i].p50, out[i].p99 = median(rps[i]), median(p50[i]), median(p99[i])
	}
	return out, nil
}
