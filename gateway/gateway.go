// Package gateway is the edge of a Slipway installation: it turns the HTTP of the dialects into gRPC calls. It is the
// only part that faces the outside.
package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"time"

	"google.golang.org/grpc"

	authpb "slipway.dev/proto/auth/v4"

	"slipway.dev/gateway/internal/docs"
	"slipway.dev/gateway/internal/edge"
	"slipway.dev/gateway/internal/keypage"
	"slipway.dev/gateway/internal/vmmanager"
)

// Config are the limits of the edge. The zero value is good.
type Config struct {
	MaxBody int64         // bytes of a body; default 1 MiB
	MaxURL  int           // bytes of a URL; default 16 KiB
	Timeout time.Duration // of one request; default 30 s
	// SessionTTL is how long a token is believed without asking auth again; default 5 s.
	SessionTTL time.Duration
	// TrustedProxies may name the client in X-Forwarded-For; what others put there is ignored.
	TrustedProxies []netip.Prefix
	// Secure: clients come by HTTPS, so browsers are told never to come without.
	Secure bool
	// PanelURL is where somebody goes who logged in by a one-time link; empty for a page that says who that is.
	PanelURL string
	// HideDocs takes /openapi.json and /swagger/ away.
	HideDocs bool
	// Observe, when it is set, is told of every request that was answered.
	Observe func(method, path string, status int, took time.Duration)
	// Ready are asked for /readyz.
	Ready []func(context.Context) error
}

// Conns lead to the services.
type Conns struct{ Auth, VM, IP grpc.ClientConnInterface }

// Gateway is the edge.
type Gateway struct {
	handler  http.Handler
	sessions *edge.Sessions
	log      *slog.Logger
}

// New makes a gateway in front of the services.
func New(cfg Config, conns Conns, log *slog.Logger) (*Gateway, error) {
	if conns.Auth == nil || conns.VM == nil || conns.IP == nil {
		return nil, errors.New("gateway: a connection to a service is missing")
	}
	dialect, err := vmmanager.New(conns.Auth, conns.VM, conns.IP)
	if err != nil {
		return nil, err
	}
	sessions := edge.NewSessions(authpb.NewTokenServiceClient(conns.Auth), cfg.SessionTTL)
	guarded := edge.Guard(sessions, vmmanager.WriteError, dialect)
	links, err := keypage.Handler(keypage.Config{Secure: cfg.Secure, Panel: cfg.PanelURL}, conns.Auth, sessions, guarded)
	if err != nil {
		return nil, fmt.Errorf("gateway: %w", err)
	}
	open := docs.Handler(docs.Config{Hide: cfg.HideDocs, Ready: cfg.Ready}, links)
	handler := edge.Handler(edge.Config{
		MaxBody: cfg.MaxBody, MaxURL: cfg.MaxURL, Timeout: cfg.Timeout, TrustedProxies: cfg.TrustedProxies,
		Secure: cfg.Secure, Fail: vmmanager.WriteError, Observe: cfg.Observe,
	}, log, open)
	return &Gateway{handler: handler, sessions: sessions, log: log}, nil
}

// Handler answers HTTP requests.
func (g *Gateway) Handler() http.Handler { return g.handler }

// Revoke makes the gateway forget a session at once, or with session 0 all sessions of an account.
func (g *Gateway) Revoke(session, account int32) { g.sessions.Revoke(session, account) }

// ForgetAll makes the gateway forget all sessions: revocations may have been missed.
func (g *Gateway) ForgetAll() { g.sessions.ForgetAll() }

// Server is an HTTP server for the gateway whose limits leave no room for slow clients.
func (g *Gateway) Server(addr string) *http.Server {
	return &http.Server{
		Addr:              addr,
		Handler:           g.handler,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      60 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    32 << 10,
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: 250},
		ErrorLog:          slog.NewLogLogger(g.log.Handler(), slog.LevelDebug), // what clients do wrong on the wire
	}
}
