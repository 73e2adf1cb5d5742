package vm_test

import (
	"context"
	"log/slog"
	"testing"

	"slipway.dev/pkg/bus"
	"slipway.dev/pkg/pg"
	"slipway.dev/pkg/pg/pgtest"
	"slipway.dev/pkg/rpc"
	"slipway.dev/pkg/service"
	"slipway.dev/services/vm"
)

// TestStartsWhileTheBusIsAway: vm starts and runs without NATS, as every service does; its events wait in the outbox.
func TestStartsWhileTheBusIsAway(t *testing.T) {
	t.Parallel()
	url, schema := pgtest.Schema(t)
	pool, err := pg.Open(t.Context(), url, schema)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	b, err := bus.Connect(t.Context(), "nats://127.0.0.1:1") // no server listens there
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	log := slog.New(slog.DiscardHandler)
	other := rpc.NewServer(log, nil).Local("vm")
	s, err := vm.New(t.Context(), vm.Config{}, service.Deps{
		Pool: pool, Bus: b, Log: log, Peers: service.Peers{"auth": other, "ip": other},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if err := s.Run(ctx); err != nil {
		t.Error(err)
	}
}
