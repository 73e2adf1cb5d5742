// Package gateway is the edge of a Slipway installation: it turns the HTTP of the dialects into gRPC calls. It is the
// only part that faces the outside.
package gateway

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"

	"slipway.dev/proto/all"
	authpb "slipway.dev/proto/auth/v4"
	"slipway.dev/proto/openapi"

	"slipway.dev/gateway/internal/docs"
	"slipway.dev/gateway/internal/edge"
	"slipway.dev/gateway/internal/ispsystem"
	"slipway.dev/gateway/internal/keypage"
	"slipway.dev/gateway/internal/proxies"
	"slipway.dev/gateway/internal/rest"
)

//go:generate go run ./internal/openapigen -root ..

// Dialects lists what the gateway speaks. The first one also serves the paths that no other claims, and the Swagger
// page shows its document.
func Dialects() []rest.Dialect {
	return []rest.Dialect{
		ispsystem.Dialect(),
	}
}

// Config are the limits of the edge. The zero value is good.
type Config struct {
	MaxBody int64         // bytes of a body; default 1 MiB
	MaxURL  int           // bytes of a URL; default 16 KiB
	Timeout time.Duration // of one request; default 30 s
	// SessionTTL is how long the gateway uses auth's answer about a token before it asks again; default 5 s.
	SessionTTL time.Duration
	// Changes and AdminChanges are how many changes a second an account and an administrator may ask for, for long; for 20 s
	// it may be twice as many. Defaults are 50 and 1,000; a negative number is without limit.
	Changes, AdminChanges int
	// TrustedProxies may name the client in X-Forwarded-For: addresses, networks and names of hosts. From other peers the
	// header is ignored.
	TrustedProxies []string
	// Secure: clients come by HTTPS, and browsers must not come without.
	Secure bool
	// PanelURL is where a login by a one-time link redirects to; empty for a page that names the account.
	PanelURL string
	// HideDocs disables /openapi.json and /swagger/.
	HideDocs bool
	// Observe, when it is set, is called for every request that was answered, with the group of its path, such as "/vm/v3".
	Observe func(method, group string, status int, took time.Duration)
	// Ready are asked for /readyz.
	Ready []func(context.Context) error
}

const (
	defaultChanges      = 50
	defaultAdminChanges = 1000
)

// Conns are the connections to the services by their names, "auth", "vm" and so on.
type Conns = rest.Conns

// Gateway is the edge.
type Gateway struct {
	cfg      edge.Config
	dialects []rest.Dialect
	mounts   []*edge.Mount
	handler  http.Handler
	sessions *edge.Sessions
	log      *slog.Logger
}

// New makes a gateway in front of the services.
func New(cfg Config, conns Conns, log *slog.Logger) (*Gateway, error) {
	return speaking(Dialects(), cfg, conns, log)
}

// speaking makes a gateway that speaks these dialects.
func speaking(dialects []rest.Dialect, cfg Config, conns Conns, log *slog.Logger) (*Gateway, error) {
	auth := conns["auth"]
	if auth == nil {
		return nil, fmt.Errorf("gateway: no connection to auth")
	}
	trusted, err := proxies.Parse(cfg.TrustedProxies, func(ctx context.Context, host string) ([]netip.Addr, error) {
		return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	})
	if err != nil {
		return nil, fmt.Errorf("gateway: %w", err)
	}
	g := &Gateway{
		dialects: dialects,
		cfg: edge.Config{
			Limits:         edge.Limits{Body: cfg.MaxBody, URL: cfg.MaxURL, Time: cfg.Timeout},
			TrustedProxies: trusted, Secure: cfg.Secure, Observe: cfg.Observe,
		},
		sessions: edge.NewSessions(authpb.NewTokenServiceClient(auth), cfg.SessionTTL, slices.Sorted(maps.Keys(conns))...), log: log,
	}
	documents := map[string][]byte{}
	rates := rest.NewRates(cmp.Or(cfg.Changes, defaultChanges), cmp.Or(cfg.AdminChanges, defaultAdminChanges))
	for _, d := range dialects {
		api, err := rest.New(d, all.Files(), conns)
		if err != nil {
			return nil, fmt.Errorf("gateway: %w", err)
		}
		api.Limit(rates)
		g.mounts = append(g.mounts, api.Mount(edge.Guard(g.sessions, api)))
		documents[d.Document.Path] = openapi.Of(d.Name)
	}
	// Handlers in front of the first dialect: one-time links in browsers, the documents, and the state of the
	// process.
	home := g.mounts[0]
	links, err := keypage.Handler(keypage.Config{Secure: cfg.Secure, Panel: cfg.PanelURL}, auth, g.sessions, home.Handler)
	if err != nil {
		return nil, fmt.Errorf("gateway: %w", err)
	}
	home.Handler = docs.Handler(docs.Config{Hide: cfg.HideDocs, Ready: cfg.Ready, Documents: documents}, links)
	home.Routes = append(home.Routes, keypage.Routes()...)
	home.Groups = append(home.Groups, "/auth/key", "/swagger", "/openapi.json")
	g.handler = edge.Handler(g.cfg, log, g.mounts...)
	return g, nil
}

// ReadError reads the body of a refusal at path as clients of the path's dialect do. It returns the reason of the
// fault; ok is false for a body of another shape. It serves tests of whole stacks, which do not depend on a dialect.
func (g *Gateway) ReadError(path string, body []byte) (reason string, ok bool) {
	name := edge.MountOf(g.mounts, path).Name
	for _, d := range g.dialects {
		if d.Name == name {
			return d.ReadError(body)
		}
	}
	return "", false
}

// FollowProxies keeps the addresses of trusted proxies that have names until ctx ends.
func (g *Gateway) FollowProxies(ctx context.Context) error {
	return g.cfg.TrustedProxies.Follow(ctx, g.log)
}

// Handler answers HTTP requests.
func (g *Gateway) Handler() http.Handler { return g.handler }

// Revoke removes a session from the cache, or all sessions of an account if session is 0.
func (g *Gateway) Revoke(session, account int32) { g.sessions.Revoke(session, account) }

// ForgetAll empties the cache of sessions, for when revocations may have been missed.
func (g *Gateway) ForgetAll() { g.sessions.ForgetAll() }

// Server returns an HTTP server for all dialects, with deadlines against slow clients.
func (g *Gateway) Server(addr string) *http.Server { return g.server(addr, g.handler) }

// ServerOf returns an HTTP server of one dialect, to which every path belongs there.
func (g *Gateway) ServerOf(dialect, addr string) (*http.Server, error) {
	for _, m := range g.mounts {
		if m.Name == dialect {
			return g.server(addr, edge.Handler(g.cfg, g.log, m)), nil
		}
	}
	return nil, fmt.Errorf("gateway: there is no dialect %q", dialect)
}

func (g *Gateway) server(addr string, h http.Handler) *http.Server {
	closing := make(chan struct{})
	s := &http.Server{
		BaseContext:       func(net.Listener) context.Context { return edge.WithClosing(context.Background(), closing) },
		Addr:              addr,
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      60 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    32 << 10,
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: 250},
		ErrorLog:          slog.NewLogLogger(g.log.Handler(), slog.LevelDebug), // what clients do wrong on the wire
	}
	s.RegisterOnShutdown(sync.OnceFunc(func() { close(closing) }))
	return s
}
