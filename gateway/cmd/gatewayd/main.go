// Command gatewayd is the gateway as a process of its own.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"google.golang.org/grpc"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"slipway.dev/pkg/bus"
	"slipway.dev/pkg/conf"
	"slipway.dev/pkg/obs"
	"slipway.dev/pkg/pki"
	"slipway.dev/pkg/program"
	"slipway.dev/pkg/rpc"
	"slipway.dev/pkg/run"

	"slipway.dev/gateway"
)

// drainFor is how long requests under way may take when the process stops.
const drainFor = 20 * time.Second

type config struct {
	program.Settings
	Listen string `env:"LISTEN" envDefault:":8080"`
	// ListenOwn are addresses at which every path belongs to one dialect, such as "ispsystem=:8083".
	ListenOwn map[string]string `env:"LISTEN_OWN" envKeyValSeparator:"="`
	// Certs is the directory of ca.crt, gateway.crt and gateway.key, for the services.
	Certs string `env:"CERTS,required"`
	// Services are the addresses of all services, such as "auth=127.0.0.1:8101,vm=127.0.0.1:8103".
	Services map[string]string `env:"SERVICES,required" envKeyValSeparator:"="`
	NATS     string            `env:"NATS,required"`
	// TLSCert and TLSKey are files; with them the gateway itself speaks HTTPS.
	TLSCert string `env:"TLS_CERT"`
	TLSKey  string `env:"TLS_KEY"`
	// Secure: clients come by HTTPS through a proxy.
	Secure bool `env:"SECURE"`
	// Changes and AdminChanges are how many changes a second an account and an administrator may ask for; below 0 there is
	// no limit.
	Changes      int `env:"CHANGES"`
	AdminChanges int `env:"ADMIN_CHANGES"`
	// TrustedProxies are the addresses, networks or host names of proxies whose X-Forwarded-For is believed.
	TrustedProxies []string `env:"TRUSTED_PROXIES"`
	HideDocs       bool     `env:"HIDE_DOCS"`
	// PanelURL is where a one-time link leads after the login.
	PanelURL string `env:"PANEL_URL"`
	// Leave is how long the process goes on serving after a request to stop, while /readyz reports that it leaves:
	// load balancers need that long to notice.
	Leave time.Duration `env:"LEAVE"`
}

func main() {
	program.Main("gateway", func(ctx context.Context, log *slog.Logger) error {
		cfg, err := conf.Load[config]("SLIPWAY_GATEWAY")
		if err != nil {
			return err
		}
		return serve(ctx, cfg, log)
	})
}

func serve(ctx context.Context, cfg config, log *slog.Logger) error {
	tlsConfig, err := pki.Load(cfg.Certs, "gateway")
	if err != nil {
		return err
	}
	conns, health := gateway.Conns{}, []func(context.Context) error{}
	for name, addr := range cfg.Services {
		conn, err := rpc.Dial(addr, name, tlsConfig)
		if err != nil {
			return fmt.Errorf("dial %s: %w", name, err)
		}
		defer func() { _ = conn.Close() }() // the process ends
		conns[name], health = conn, append(health, healthy(conn))
	}
	events, err := bus.Connect(ctx, cfg.NATS, cfg.Bus(log)...)
	if err != nil {
		return err
	}
	defer events.Close()
	o := obs.New(health...)
	gw, err := gateway.New(gateway.Config{
		TrustedProxies: cfg.TrustedProxies, Secure: cfg.Secure || cfg.TLSCert != "", HideDocs: cfg.HideDocs, PanelURL: cfg.PanelURL,
		Changes: cfg.Changes, AdminChanges: cfg.AdminChanges,
		Ready: []func(context.Context) error{o.Ready}, Observe: o.Request,
	}, conns, log)
	if err != nil {
		return err
	}
	parts := []run.Service{
		run.Func(func(ctx context.Context) error { return listen(ctx, gw.Server(cfg.Listen), cfg, log) }),
		run.Func(func(ctx context.Context) error { return gw.Watch(ctx, events) }),
		run.Func(gw.FollowProxies),
	}
	for dialect, addr := range cfg.ListenOwn {
		srv, err := gw.ServerOf(dialect, addr)
		if err != nil {
			return err
		}
		parts = append(parts, run.Func(func(ctx context.Context) error { return listen(ctx, srv, cfg, log) }))
	}
	return cfg.Run(ctx, o, parts...)
}

func listen(ctx context.Context, srv *http.Server, cfg config, log *slog.Logger) error {
	l, err := net.Listen("tcp", srv.Addr)
	if err != nil {
		return err
	}
	log.Info("listening", "addr", l.Addr().String())
	failed := make(chan error, 1)
	go func() {
		if cfg.TLSCert != "" {
			failed <- srv.ServeTLS(l, cfg.TLSCert, cfg.TLSKey)
		} else {
			failed <- srv.Serve(l)
		}
	}()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	srv.SetKeepAlivesEnabled(false) // clients that keep a connection look for another gateway with their next request
	select {
	case err := <-failed:
		return err
	case <-time.After(cfg.Leave):
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainFor)
	defer cancel()
	if err := srv.Shutdown(drain); err != nil && !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("drain: %w", err)
	}
	return nil
}

// healthy asks a service for its health.
func healthy(conn grpc.ClientConnInterface) func(context.Context) error {
	client := healthpb.NewHealthClient(conn)
	return func(ctx context.Context) error {
		resp, err := client.Check(ctx, &healthpb.HealthCheckRequest{})
		if err == nil && resp.GetStatus() != healthpb.HealthCheckResponse_SERVING {
			err = fmt.Errorf("it is %s", resp.GetStatus())
		}
		return err
	}
}
