package main

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	authpb "slipway.dev/proto/auth/v4"

	"slipway.dev/pkg/pki"
	"slipway.dev/pkg/rpc"
)

type tokens struct {
	authpb.UnimplementedTokenServiceServer
}

func (tokens) CreateSession(context.Context, *authpb.CreateSessionRequest) (*authpb.Token, error) {
	return &authpb.Token{Id: 3, Token: "3-cafe"}, nil
}

func (tokens) Introspect(context.Context, *authpb.IntrospectRequest) (*authpb.IntrospectResponse, error) {
	return &authpb.IntrospectResponse{Identity: "signed", AccountId: 3, SessionId: 1}, nil
}

// heard gives the address that the log says is listened on.
type heard struct {
	slog.Handler
	addr chan string
}

func (h heard) Enabled(context.Context, slog.Level) bool { return true }

func (h heard) Handle(_ context.Context, r slog.Record) error {
	r.Attrs(func(a slog.Attr) bool {
		if r.Message == "listening" {
			h.addr <- a.Value.String()
		}
		return true
	})
	return nil
}

// TestServe runs the process as it is deployed, with auth behind mTLS, and vm, ip and NATS away.
func TestServe(t *testing.T) {
	t.Parallel()
	certs := t.TempDir()
	if err := pki.Write(certs, time.Hour, "gateway", "auth"); err != nil {
		t.Fatal(err)
	}
	tlsConfig, err := pki.Load(certs, "auth")
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	auth := rpc.NewServer(slog.New(slog.DiscardHandler), nil)
	authpb.RegisterTokenServiceServer(auth, tokens{})
	done := make(chan error, 2)
	go func() { done <- auth.Serve(ctx, l, tlsConfig) }()
	log := heard{slog.DiscardHandler, make(chan string, 1)}
	const nobody = "127.0.0.1:1"
	go func() {
		done <- serve(ctx, config{
			Listen: "127.0.0.1:0", Certs: certs, NATS: "nats://" + nobody,
			Services: map[string]string{"auth": l.Addr().String(), "vm": nobody, "ip": nobody},
		}, slog.New(log))
	}()
	base := "http://" + <-log.addr
	for _, tt := range []struct {
		method, path, token string
		code                int
		text                string
	}{
		{http.MethodPost, "/auth/v4/public/token", "", 201, `{"id":3,"token":"3-cafe","expires_at":null,"confirmed":false}`},
		{http.MethodGet, "/healthz", "", 200, `{"status":"ok"}`},
		{http.MethodGet, "/readyz", "", 503, `{"status":"not ready"}`},
		{http.MethodGet, "/vm/v3/host", "", 401, `"code":1000`},
		{http.MethodGet, "/vm/v3/host", "3-cafe", 503, `"code":90007`},
	} {
		r, err := http.NewRequestWithContext(t.Context(), tt.method, base+tt.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("X-Xsrf-Token", tt.token)
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if resp.StatusCode != tt.code || !strings.Contains(string(body), tt.text) {
			t.Errorf("%s: %d %s", tt.path, resp.StatusCode, body)
		}
	}
	cancel()
	for range 2 {
		if err := <-done; err != nil {
			t.Errorf("end: %v", err)
		}
	}
}
