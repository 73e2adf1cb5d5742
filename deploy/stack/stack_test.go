package stack_test

import (
	"context"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/deploy/parts"
	"slipway.dev/deploy/stack"
	"slipway.dev/pkg/bus/bustest"
	"slipway.dev/pkg/pg/pgtest"
	"slipway.dev/pkg/program"
	"slipway.dev/pkg/rpc"
	"slipway.dev/pkg/service"
	"slipway.dev/services/auth"
)

func TestMain(m *testing.M) {
	if err := declareToy(); err != nil {
		slog.Error("the toy's proto", "err", err)
		os.Exit(1)
	}
	pgtest.Main(m)
}

// config is a composition of a table, each service on a schema of its own.
func config(t *testing.T, table []parts.Part) stack.Config {
	t.Helper()
	c := stack.Config{
		Parts: table, Pools: map[string]*pgxpool.Pool{}, Bus: bustest.New(t), Log: slog.New(slog.DiscardHandler),
		Settings: map[string]string{
			"SLIPWAY_AUTH_MASTER_KEY": auth.NewMasterKey(), "SLIPWAY_AUTH_ADMIN_PASSWORD": "correct horse",
			"SLIPWAY_VM_WATCH_EVERY": "1h", "SLIPWAY_TOY_GREETING": "ahoy",
		},
	}
	for _, p := range parts.Services(table) {
		url, schema := pgtest.Schema(t)
		c.Pools[p.Name] = pgtest.Open(t, url, schema)
	}
	return c
}

// TestAServiceIsALine: a service that is added to the table is migrated and started, answers users, emits and
// consumes events, and takes part in the consistency check.
func TestAServiceIsALine(t *testing.T) {
	t.Parallel()
	c := config(t, append(parts.All(), toyPart()))
	s, err := stack.New(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("the services ended: %v", err)
		}
	})
	greet := func(ctx context.Context) (*wrapperspb.StringValue, error) {
		out := new(wrapperspb.StringValue)
		return out, s.Peers("gateway")["toy"].Invoke(ctx, "/toy.v1.ToyService/Greet", wrapperspb.String("Ada"), out)
	}
	if _, err := greet(t.Context()); status.Code(err) != codes.Unauthenticated {
		t.Errorf("without an identity: %v", err)
	}
	admin, err := s.AsAdmin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if out, err := greet(admin); err != nil || out.GetValue() != "ahoy, Ada" {
		t.Fatalf("the toy says %q: %v", out.GetValue(), err)
	}
	heard := func() bool {
		var n int
		err := c.Pools["toy"].QueryRow(t.Context(), `SELECT count(*) FROM greeted JOIN heard USING (name)`).Scan(&n)
		return err == nil && n == 1
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for late := time.After(2 * time.Minute); !heard(); {
		select {
		case <-tick.C:
		case <-late:
			t.Fatal("the event of the toy did not come back within two minutes")
		}
	}
	r, err := vmpb.NewFsckServiceClient(s.Conn("vm", "gateway")).GetFsck(admin, &vmpb.GetFsckRequest{SettleMs: 1})
	if err != nil || len(r.GetUnchecked()) > 0 || len(r.GetList()) != 1 || r.GetList()[0].GetKind() != "toy_bored" {
		t.Errorf("fsck found %v, unchecked %v: %v", r.GetList(), r.GetUnchecked(), err)
	}
}

// TestLeftOut: a composition without a service that another one calls does not start, and says which one is missing.
func TestLeftOut(t *testing.T) {
	t.Parallel()
	for _, p := range parts.Services(parts.All()) {
		if len(p.Calls) == 0 {
			continue
		}
		_, err := stack.New(t.Context(), config(t, []parts.Part{p}))
		if err == nil || !strings.Contains(err.Error(), p.Name+": needs a connection to "+p.Calls[0]) {
			t.Errorf("%s alone: %v", p.Name, err)
		}
	}
	c := config(t, nil)
	if _, err := stack.New(t.Context(), c); err == nil || !strings.Contains(err.Error(), "no database for auth") {
		t.Errorf("without databases: %v", err)
	}
}

// TestHooks: connections are wrapped with the names of both ends, and agents are reached by their nodes and endpoints.
func TestHooks(t *testing.T) {
	t.Parallel()
	var dial func(node, endpoint string) (grpc.ClientConnInterface, error)
	wrapped := map[string]bool{}
	c := config(t, parts.All())
	c.Wrap = func(caller, service string, conn grpc.ClientConnInterface) grpc.ClientConnInterface {
		wrapped[caller+" "+service] = true
		return conn
	}
	for i, p := range c.Parts {
		if p.Name != "vm" {
			continue
		}
		vm := p.New
		c.Parts[i].New = func(ctx context.Context, settings map[string]string, d service.Deps) (program.Service, error) {
			dial = d.Dial
			return vm(ctx, settings, d)
		}
	}
	s, err := stack.New(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	for _, pair := range []string{"ip auth", "vm auth", "vm ip", "auth vm"} {
		if !wrapped[pair] {
			t.Errorf("the connection %q was not wrapped: %v", pair, wrapped)
		}
	}
	if _, err := dial("n", "a"); err == nil {
		t.Error("an agent that is not there is reached")
	}
	s.AddAgent("n", "a", rpc.NewServer(c.Log, nil))
	if _, err := dial("n", "a"); err != nil {
		t.Error(err)
	}
	if _, err := dial("other", "a"); err == nil {
		t.Error("the agent of one node is taken for another node's")
	}
}
