package obs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

const (
	readyTimeout = 3 * time.Second
	checkTimeout = 4 * time.Second // longer than readyTimeout
)

// ErrLeaving is returned by Ready while the process stops.
var ErrLeaving = errors.New("the process is stopping")

// Serve answers /metrics, /healthz and /readyz on addr until ctx ends. If addr is empty, Serve only waits.
func (o *Obs) Serve(ctx context.Context, addr string) error {
	if addr == "" {
		<-ctx.Done()
		return nil
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("metrics: %w", err)
	}
	srv := &http.Server{Handler: o.Handler(), ReadHeaderTimeout: 5 * time.Second, WriteTimeout: 30 * time.Second}
	stop := context.AfterFunc(ctx, func() { _ = srv.Close() }) // no client waits for these answers
	defer stop()
	if err := srv.Serve(l); ctx.Err() == nil {
		return fmt.Errorf("metrics: %w", err)
	}
	return nil
}

// Handler returns the handler of /metrics, /healthz and /readyz.
func (o *Obs) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(o.registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok\n") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		if err := o.Ready(r.Context()); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		_, _ = io.WriteString(w, "ready\n")
		ctx, stop := context.WithTimeout(r.Context(), readyTimeout)
		defer stop()
		for _, line := range o.details {
			_, _ = io.WriteString(w, line(ctx)+"\n")
		}
	})
	return mux
}

// Ready returns the reason why the process cannot work now, or nil.
func (o *Obs) Ready(ctx context.Context) error {
	if o.leaving.Load() {
		return ErrLeaving
	}
	ctx, stop := context.WithTimeout(ctx, readyTimeout)
	defer stop()
	for _, ready := range o.ready {
		if err := ready(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Check returns an error unless the process that serves on the port of addr, on this machine, is ready. It is the health
// check of images that hold nothing but the program.
func Check(ctx context.Context, addr string) error {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("no metrics are served, so /readyz cannot be asked: %w", err)
	}
	ctx, stop := context.WithTimeout(ctx, checkTimeout)
	defer stop()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort("127.0.0.1", port)+"/readyz", nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		why, _ := io.ReadAll(io.LimitReader(resp.Body, 1000))
		return fmt.Errorf("not ready: %s", why)
	}
	return nil
}
