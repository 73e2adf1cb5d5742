package obs_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"slipway.dev/pkg/jobs"
	"slipway.dev/pkg/obs"
	"slipway.dev/pkg/outbox"
	"slipway.dev/pkg/pg/pgtest"
)

func get(t *testing.T, o *obs.Obs, path string) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	o.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	text, _ := io.ReadAll(w.Result().Body)
	return w.Code, string(text)
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t, jobs.Migrations, outbox.Migrations)
	for _, sql := range []string{
		`INSERT INTO job (kind, key, args, created_at) VALUES ('host_create', 'h1', '{}', now() - interval '1 hour'), ('host_create', 'h2', '{}', now())`,
		`INSERT INTO job (kind, key, args, state, finished_at) VALUES ('host_create', 'h3', '{}', 'done', now())`,
		`INSERT INTO outbox (event_id, subject, key, type, data, occurred_at) VALUES (gen_random_uuid(), 'vm.v3.x.y', 'k', 't', '', now() - interval '1 minute')`,
		`INSERT INTO outbox (event_id, subject, key, type, data, sent_at) VALUES (gen_random_uuid(), 'vm.v3.x.y', 'k', 't', '', now())`,
	} {
		if _, err := pool.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	o := obs.New()
	o.Database("vm", pool)
	o.Jobs("vm", pool)
	temperature := obs.Desc("temperature", "Of rooms.", "room")
	o.Gauges(func(_ context.Context, set obs.Set) error {
		set(temperature, 21, "kitchen")
		set(temperature, 19, "hall")
		return errors.New("the other rooms are locked")
	})
	call := o.Call("vm")
	call("/vm.v3.HostService/GetHost", codes.OK, 3*time.Millisecond)
	call("/vm.v3.HostService/GetHost", codes.NotFound, time.Millisecond)
	o.Request("GET", "/vm/v3", 200, time.Millisecond)
	o.Request("BREW", "other", 404, time.Millisecond)
	status, text := get(t, o, "/metrics")
	if status != http.StatusOK {
		t.Fatalf("%d %s", status, text)
	}
	for _, want := range []string{
		`slipway_jobs{kind="host_create",service="vm",state="queued"} 2`,
		`slipway_jobs_age_seconds{kind="host_create",service="vm",state="queued"} 360`,
		`slipway_outbox_events{service="vm"} 1`,
		`slipway_outbox_age_seconds{service="vm"} 60`,
		`slipway_db_connections{service="vm",state="max"}`,
		`slipway_rpc_seconds_count{code="OK",method="vm.v3.HostService/GetHost",service="vm"} 1`,
		`slipway_rpc_seconds_count{code="NotFound",method="vm.v3.HostService/GetHost",service="vm"} 1`,
		`slipway_http_seconds_count{api="/vm/v3",method="GET",status="200"} 1`,
		`slipway_http_seconds_count{api="other",method="other",status="404"} 1`,
		`temperature{room="kitchen"} 21`, `temperature{room="hall"} 19`,
		"go_goroutines", "process_resident_memory_bytes",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
	if status, text := get(t, o, "/readyz"); status != http.StatusOK ||
		!strings.HasPrefix(text, "ready\nvm: ") || !strings.Contains(text, "1 events wait for the bus, the oldest for 1m") {
		t.Errorf("/readyz: %d %s", status, text)
	}
	pool.Close()
	if status, text := get(t, o, "/metrics"); status != http.StatusOK || !strings.Contains(text, "slipway_rpc_seconds_count") {
		t.Errorf("without its database: %d", status)
	}
}

func TestReady(t *testing.T) {
	t.Parallel()
	var away error
	o := obs.New(func(context.Context) error { return away })
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	srv := &http.Server{Handler: o.Handler()}
	go func() { _ = srv.Serve(l) }()
	defer srv.Close()
	if err := obs.Check(t.Context(), addr); err != nil {
		t.Errorf("ready: %v", err)
	}
	away = errors.New("the database is away")
	if err := obs.Check(t.Context(), addr); err == nil || !strings.Contains(err.Error(), "database is away") {
		t.Errorf("not ready: %v", err)
	}
	if status, _ := get(t, o, "/healthz"); status != http.StatusOK {
		t.Errorf("not alive: %d", status)
	}
	away = nil
	o.Leave()
	if err := obs.Check(t.Context(), addr); err == nil {
		t.Error("ready while it stops")
	}
	for _, addr := range []string{"", "127.0.0.1:1"} {
		if err := obs.Check(t.Context(), addr); err == nil {
			t.Errorf("%q answered", addr)
		}
	}
}
