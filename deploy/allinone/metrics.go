package allinone

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"time"

	"slipway.dev/pkg/obs"
	"slipway.dev/pkg/obs/promembed"
	"slipway.dev/pkg/run"
)

// Values of Config.MetricsServer that are no URL.
const (
	metricsAuto = "auto"
	metricsOff  = "off"
)

// private is the Prometheus of this process, and the listener that it alone scrapes.
type private struct {
	server   *promembed.Server
	listener net.Listener
	token    string
}

// prometheus prepares the private Prometheus, unless another or none is configured. A machine without Prometheus, or one that
// cannot run it, has no metrics server: the rest works.
func (s *process) prometheus() (p *private, err error) {
	if s.cfg.MetricsServer != metricsAuto {
		return nil, nil
	}
	p = &private{token: rand.Text()}
	if p.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	p.server, err = promembed.New(promembed.Config{
		Dir: filepath.Join(s.cfg.Data, "prometheus"), Target: p.listener.Addr().String(), Token: p.token, Log: s.log,
	})
	if err != nil {
		_ = p.listener.Close()
		s.log.Warn("metrics of hosts are not kept", "err", err)
		return nil, nil
	}
	return p, nil
}

// metricsURL returns where vm asks for metrics, or "" for nowhere.
func (s *process) metricsURL() string {
	switch {
	case s.private != nil:
		return s.private.server.URL()
	case s.cfg.MetricsServer == metricsOff, s.cfg.MetricsServer == metricsAuto:
		return ""
	default:
		return s.cfg.MetricsServer
	}
}

// run runs the server, and answers it, until ctx ends.
func (p *private) run(ctx context.Context, metrics http.Handler) error {
	srv := &http.Server{ReadHeaderTimeout: 5 * time.Second, WriteTimeout: 30 * time.Second, Handler: bearer(p.token, metrics)}
	stop := context.AfterFunc(ctx, func() { _ = srv.Close() })
	defer stop()
	return run.All(ctx, p.server, run.Func(func(context.Context) error {
		if err := srv.Serve(p.listener); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("metrics: %w", err)
		}
		return nil
	}))
}

// bearer answers those that have the token.
func bearer(token string, h http.Handler) http.Handler {
	want := []byte("Bearer " + token)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if subtle.ConstantTimeCompare([]byte(r.Header.Get("Authorization")), want) != 1 {
			http.Error(w, "no", http.StatusUnauthorized)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// watch makes everything countable that the separate processes count.
func (s *process) watch() {
	s.obs = obs.New(s.infra.ready)
	s.services.Observe(s.obs)
	s.node.Observe(s.obs)
	if nats := s.infra.nats; nats != nil {
		s.obs.Gauges(func(_ context.Context, set obs.Set) error {
			up := 1.0
			if nats.Ready() != nil {
				up = 0
			}
			set(busReady, up)
			return nil
		})
	}
}

var busReady = obs.Desc("slipway_bus_ready", "1 if the embedded bus can store events, 0 if not, as with a full disk.")

func (s *process) serveMetrics(ctx context.Context) error {
	var parts []run.Service
	if s.obs != nil && s.cfg.Metrics != "" {
		parts = append(parts, run.Func(func(ctx context.Context) error { return s.obs.Serve(ctx, s.cfg.Metrics) }))
	}
	if s.private != nil {
		parts = append(parts, run.Func(func(ctx context.Context) error { return s.private.run(ctx, s.obs.Handler()) }))
	}
	if len(parts) == 0 {
		<-ctx.Done()
		return nil
	}
	return run.All(ctx, parts...)
}
