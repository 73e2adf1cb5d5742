package setup

import (
	"context"
	"encoding/json"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"slipway.dev/deploy/parts"
	"slipway.dev/pkg/bus"
	"slipway.dev/pkg/outbox"
	"slipway.dev/pkg/pg"
	"slipway.dev/pkg/pg/pgtest"
)

// natsServer runs a server with these settings, on a port of its own, and returns its address.
func natsServer(t *testing.T, conf, store string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "nats.conf")
	if err := os.WriteFile(path, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	o, err := server.ProcessConfigFile(path)
	if err != nil {
		t.Fatal(err)
	}
	o.Host, o.Port, o.HTTPPort, o.StoreDir, o.NoSigs = "127.0.0.1", -1, 0, store, true
	s, err := server.NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(time.Minute) {
		t.Fatal("nats is not ready")
	}
	return s.Addr().String()
}

// urlAt returns the URL of a service at another address.
func (c Config) urlAt(t *testing.T, service, address string) string {
	t.Helper()
	return strings.Replace(text(t, c.key(service, "nats")), "nats:4222", address, 1)
}

func connect(t *testing.T, url string) *bus.Bus {
	t.Helper()
	b, err := bus.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

// client is a service that has been taken over: it sends what it likes.
type client struct {
	*nats.Conn
	own     string // its stream
	mu      sync.Mutex
	refused map[string]bool
}

var violation = regexp.MustCompile(`(?i)permissions violation for publish to "([^"]+)"`)

func taken(t *testing.T, url string) *client {
	t.Helper()
	c := &client{refused: map[string]bool{}}
	at, _, _ := strings.Cut(url, "?")
	var err error
	c.Conn, err = nats.Connect(at, nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
		if m := violation.FindStringSubmatch(err.Error()); m != nil {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.refused[m[1]] = true
		}
	}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// ask sends a request and returns the answer, or "" if there is none.
func (c *client) ask(subject string, body any) string {
	var data []byte
	if body != nil {
		data, _ = json.Marshal(body)
	}
	m, err := c.Request(subject, data, 300*time.Millisecond)
	if err != nil {
		return ""
	}
	return string(m.Data)
}

var quiet = slog.New(slog.DiscardHandler)

func ev(subject string) bus.Event {
	return bus.Event{ID: uuid.NewString(), Subject: subject, Key: "7", Type: "t", Time: time.Now()}
}

func publish(t *testing.T, b *bus.Bus, events ...bus.Event) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); len(events) > 0; {
		n, err := b.Publish(t.Context(), events...)
		if events = events[n:]; err != nil && time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

// state returns how many messages the stream of a service holds, and its settings.
func state(t *testing.T, c Config, address, service string) *jetstream.StreamInfo {
	t.Helper()
	js, err := jetstream.New(taken(t, c.urlAt(t, service, address)).Conn)
	if err != nil {
		t.Fatal(err)
	}
	s, err := js.Stream(t.Context(), service)
	if err != nil {
		t.Fatal(err)
	}
	return s.CachedInfo()
}

// harms are the ways of a service that was taken over to another's stream.
const victim = "auth.v4.user.updated"

var harms = map[string]func(*client){
	"publish": func(x *client) { _ = x.Publish(victim, []byte("forged")) },
	"push consumer": func(x *client) {
		_, _ = x.SubscribeSync(victim) // a push consumer works while a client hears it
		x.ask("$JS.API.CONSUMER.CREATE."+x.own+".spy", map[string]any{"stream_name": x.own, "config": map[string]any{
			"name": "spy", "deliver_subject": victim, "deliver_policy": "all", "ack_policy": "none",
		}})
		x.ask("$JS.API.CONSUMER.DURABLE.CREATE."+x.own+".spy", map[string]any{"stream_name": x.own, "config": map[string]any{
			"durable_name": "spy", "deliver_subject": victim, "deliver_policy": "all", "ack_policy": "none",
		}})
	},
	"sources of another's stream": func(x *client) {
		x.ask("$JS.API.STREAM.UPDATE.auth", map[string]any{"name": "auth", "subjects": []string{"auth.>"}, "sources": []any{map[string]any{
			"name": x.own, "subject_transforms": []any{map[string]any{"src": x.own + ".v3.thing.made", "dest": victim}},
		}}})
	},
	"copies of the own stream": func(x *client) {
		x.ask("$JS.API.STREAM.UPDATE."+x.own, map[string]any{
			"name": x.own, "subjects": []string{x.own + ".>"}, "republish": map[string]any{"src": x.own + ".>", "dest": "auth.>"},
		})
		_ = x.Publish(x.own+".v3.thing.made", []byte("forged"))
	},
	"another's subjects": func(x *client) {
		x.ask("$JS.API.STREAM.UPDATE."+x.own, map[string]any{"name": x.own, "subjects": []string{x.own + ".>", "auth.>"}})
	},
	"a limit of another's stream": func(x *client) {
		x.ask("$JS.API.STREAM.UPDATE.auth", map[string]any{"name": "auth", "subjects": []string{"auth.>"}, "max_msgs": 1})
	},
	"purge and delete": func(x *client) {
		x.ask("$JS.API.STREAM.PURGE.auth", nil)
		x.ask("$JS.API.STREAM.DELETE.auth", nil)
		x.ask("$JS.API.STREAM.MSG.DELETE.auth", map[string]any{"seq": 1})
	},
	"answers": func(x *client) { // each of them is sent to where the question says
		for _, q := range []string{
			x.own + ".v3.thing.made", "$JS.API.STREAM.INFO." + x.own, "$JS.API.STREAM.MSG.GET." + x.own, "$JS.API.DIRECT.GET." + x.own,
			"$JS.API.INFO", "$JS.API.CONSUMER.MSG.NEXT." + x.own + ".spy", "$JS.API.STREAM.MSG.GET.auth", "slipway.auth.STREAM.MSG.GET.auth",
		} {
			_ = x.PublishMsg(&nats.Msg{Subject: q, Reply: victim, Header: nats.Header{"Nats-Msg-Id": {uuid.NewString()}}, Data: []byte(`{"seq":1}`)})
		}
	},
	"traces": func(x *client) {
		_ = x.PublishMsg(&nats.Msg{Subject: x.own + ".v3.thing.made", Header: nats.Header{"Nats-Trace-Dest": {victim}, "Nats-Msg-Id": {uuid.NewString()}}})
	},
}

// TestNoServiceSpeaksForAnother: a service that was taken over can put nothing into another's stream, nor take anything out of it,
// by no means that JetStream has.
func TestNoServiceSpeaksForAnother(t *testing.T) {
	t.Parallel()
	c := config(t)
	at := natsServer(t, text(t, c.key("nats", "nats.conf")), t.TempDir())
	auth, ip := connect(t, c.urlAt(t, "auth", at)), connect(t, c.urlAt(t, "ip", at))
	for range 7 {
		publish(t, auth, ev("auth.v4.user.updated"))
		publish(t, ip, ev("ip.v3.pool.bound"))
	}
	for name, harm := range harms {
		for _, as := range []string{"ip", "gateway", "vm"} {
			x := taken(t, c.urlAt(t, as, at))
			x.own = as
			harm(x)
			if err := x.Flush(); err != nil {
				t.Fatal(err)
			}
			if now := state(t, c, at, "auth"); now.State.Msgs != 7 || now.State.LastSeq != 7 || now.Config.MaxMsgs != -1 || len(now.Config.Sources) > 0 {
				t.Fatalf("%s, as %s: %+v %+v", name, as, now.State, now.Config)
			}
		}
	}
}

// TestOneAccountIsNoticed: with one account for all services, as earlier versions had it, the ways of TestNoServiceSpeaksForAnother
// lead to another's stream, most of them although no user may publish in another's name.
func TestOneAccountIsNoticed(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"push consumer", "sources of another's stream", "a limit of another's stream", "answers", "purge and delete"} {
		at := natsServer(t, before, t.TempDir())
		auth, vm := connect(t, "nats://auth:a@"+at), connect(t, "nats://vm:v@"+at)
		for range 7 {
			publish(t, auth, ev(victim))
			publish(t, vm, ev("vm.v3.thing.made"))
		}
		x := taken(t, "nats://vm:v@"+at)
		x.own = "vm"
		harms[name](x)
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) { // between two looks
			s, err := auth.Look(t.Context(), "auth")
			if err == nil && (s.First != 1 || s.Last != 7 || len(s.Gone) > 0) {
				break
			}
			if time.Now().After(deadline) {
				t.Errorf("%s: did no harm", name)
				break
			}
		}
	}
}

// TestScan: of all subjects of JetStream's API and of the system, each user reaches those of an explicit list, and no other.
func TestScan(t *testing.T) {
	t.Parallel()
	c := config(t)
	at := natsServer(t, text(t, c.key("nats", "nats.conf")), t.TempDir())
	subjects := everySubject([]string{"auth", "ip", "vm", "gateway", "other"})
	reads := map[string][]string{"auth": {"ip", "vm"}, "ip": {"auth", "vm"}, "vm": {"auth", "ip"}}
	for _, as := range []string{"auth", "ip", "vm", "gateway"} {
		want := map[string]bool{}
		if as != "gateway" {
			for _, s := range []string{
				"$JS.API.INFO", "$JS.API.STREAM.CREATE." + as, "$JS.API.STREAM.UPDATE." + as, "$JS.API.STREAM.INFO." + as,
				"$JS.API.STREAM.MSG.GET." + as, "$JS.API.STREAM.PURGE." + as, as + ".v1.thing.made",
			} {
				want[s] = true
			}
		}
		for _, owner := range reads[as] {
			want["slipway.read."+owner+"."+as+".any"] = true
			want["slipway."+owner+".STREAM.INFO."+owner], want["slipway."+owner+".STREAM.MSG.GET."+owner] = true, true
		}
		x := taken(t, c.urlAt(t, as, at))
		for _, s := range subjects {
			if err := x.Publish(s, nil); err != nil {
				t.Fatal(err)
			}
		}
		last := "end." + uuid.NewString() // the server answers in order
		_ = x.Publish(last, nil)
		for deadline := time.Now().Add(time.Minute); ; {
			_ = x.Flush()
			x.mu.Lock()
			end := x.refused[last]
			x.mu.Unlock()
			if end {
				break
			}
			if time.Now().After(deadline) {
				t.Fatal("the server does not refuse the last subject")
			}
		}
		got := map[string]bool{}
		x.mu.Lock()
		for _, s := range subjects {
			if !x.refused[s] {
				got[s] = true
			}
		}
		x.mu.Unlock()
		if !maps.Equal(got, want) {
			t.Errorf("%s reaches %v,\nand should %v", as, slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)))
		}
	}
}

// everySubject returns the subjects of the APIs of NATS with the streams in place of the first word that varies.
func everySubject(streams []string) []string {
	var list []string
	add := func(prefix string) {
		for _, form := range []string{
			server.JSApiAccountInfo, server.JSApiStreamCreate, server.JSApiStreamUpdate, server.JSApiStreams, server.JSApiStreamList,
			server.JSApiStreamInfo, server.JSApiStreamDelete, server.JSApiStreamPurge, server.JSApiStreamSnapshot,
			server.JSApiStreamRestore, server.JSApiMsgDelete, server.JSApiMsgGet, server.JSDirectMsgGet, server.JSDirectGetLastBySubject,
			server.JSApiConsumerCreate, server.JSApiConsumerCreateEx, server.JSApiDurableCreate, server.JSApiConsumers,
			server.JSApiConsumerList, server.JSApiConsumerInfo, server.JSApiConsumerDelete, server.JSApiConsumerPause,
			server.JSApiConsumerUnpin, "$JS.API.CONSUMER.MSG.NEXT.*.*", "$JS.API.CONSUMER.RESET.*.*", server.JSApiStreamRemovePeer,
			server.JSApiStreamCancelMove, server.JSApiStreamLeaderStepDown, server.JSApiConsumerLeaderStepDown,
			server.JSApiLeaderStepDown, server.JSApiRemoveServer, server.JSApiAccountPurge, server.JSApiServerStreamMove,
			server.JSApiServerStreamCancelMove, "$JS.API.STREAM.PEER.EVACUATE.*", "$JS.API.CONSUMER.PEER.REMOVE.*.*",
			"$JS.API.SERVER.EVACUATE", "$JS.API.META.RESCUE",
		} {
			for _, s := range streams {
				subject := strings.Replace(strings.Replace(form, "%s", s, 1), "*", s, 1)
				subject = strings.NewReplacer("*", "any", ">", "any.thing", "%s", "any").Replace(subject)
				list = append(list, strings.Replace(subject, "$JS.API", prefix, 1))
			}
		}
	}
	add("$JS.API")
	for _, s := range streams {
		for _, reader := range streams {
			list = append(list, "slipway.read."+s+"."+reader+".any")
		}
		add("slipway." + s)
		list = append(
			list, s+".v1.thing.made", "$JS.ACK."+s+".any.1.1.1.1.1", "$JS.FC."+s+".any", "$KV."+s+".any", "$O."+s+".any",
			"_INBOX."+s+".any", "_R_."+s+".any", "$JS."+s+".API.INFO", "$SYS.REQ.ACCOUNT."+s+".CONNZ",
		)
	}
	list = append(list, "$SYS.REQ.SERVER.PING", "$SYS.REQ.SERVER.PING.JSZ", "$SYS.REQ.CLAIMS.UPDATE", "$SYS.REQ.USER.INFO")
	slices.Sort(list)
	return slices.Compact(list)
}

// relayOf emits events of a service and sends them.
func relayOf(t *testing.T, pool *pgxpool.Pool, b *bus.Bus, subject string, from, to int) {
	t.Helper()
	err := pg.InTx(t.Context(), pool, func(tx pgx.Tx) error {
		for i := from; i < to; i++ {
			if err := outbox.Emit(t.Context(), tx, subject, "7", wrapperspb.Int32(int32(i))); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	run(t, outbox.NewRelay(pool, b, quiet).Run)
	await(t, pool, `SELECT count(*)::int FROM outbox WHERE sent_at IS NULL`, 0)
}

func readerOf(t *testing.T, pool *pgxpool.Pool, b *bus.Bus, name, service string) {
	t.Helper()
	if _, err := pool.Exec(t.Context(), `CREATE TABLE IF NOT EXISTS effect (id serial, n int)`); err != nil {
		t.Fatal(err)
	}
	run(t, func(ctx context.Context) error {
		return b.Consume(ctx, pool, bus.Consumer{Name: name, Service: service}, func(ctx context.Context, tx pgx.Tx, e bus.Event) error {
			var m wrapperspb.Int32Value
			if err := e.Decode(&m); err != nil {
				return err
			}
			_, err := tx.Exec(ctx, `INSERT INTO effect (n) VALUES ($1)`, m.Value)
			return err
		})
	})
}

// run runs f until the test ends.
func run(t *testing.T, f func(context.Context) error) {
	t.Helper()
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func await(t *testing.T, pool *pgxpool.Pool, sql string, want int) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(20 * time.Millisecond) { // between two looks
		var got int
		if err := pool.QueryRow(t.Context(), sql).Scan(&got); err != nil {
			t.Fatal(err)
		}
		if got == want {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %d, want %d", sql, got, want)
		}
	}
}

// TestReadersHear: each service gets the events of the services that its line of the table names, and all get revocations.
func TestReadersHear(t *testing.T) {
	t.Parallel()
	c := config(t)
	at := natsServer(t, text(t, c.key("nats", "nats.conf")), t.TempDir())
	owners := map[string]*pgxpool.Pool{"auth": pgtest.New(t, outbox.Migrations), "ip": pgtest.New(t, outbox.Migrations), "vm": pgtest.New(t, outbox.Migrations)}
	readers := map[*pgxpool.Pool]int{} // and how many events each gets
	heard := make(chan string, 100)
	ready := make(chan struct{}, 100)
	for _, p := range parts.All() {
		if !p.OnBus {
			continue
		}
		b := connect(t, c.urlAt(t, p.Name, at))
		for _, owner := range p.Reads {
			pool := pgtest.New(t, outbox.Migrations)
			readerOf(t, pool, b, p.Name+"-"+owner, owner)
			readers[pool] = map[string]int{"auth": 11}[owner] + map[string]int{"ip": 10, "vm": 10}[owner]
		}
		run(t, func(ctx context.Context) error {
			return b.Watch(ctx, []string{revoked}, func(bus.Event) { heard <- p.Name }, func() { ready <- struct{}{} })
		})
		<-ready
	}
	for owner, pool := range owners {
		relayOf(t, pool, connect(t, c.urlAt(t, owner, at)), owner+".v3.thing.made", 0, 10)
	}
	relayOf(t, owners["auth"], connect(t, c.urlAt(t, "auth", at)), revoked, 10, 11)
	want := map[string]bool{"auth": true, "ip": true, "vm": true, "gateway": true}
	for got := map[string]bool{}; !maps.Equal(got, want); {
		select {
		case name := <-heard:
			got[name] = true
		case <-time.After(2 * time.Minute):
			t.Fatalf("a revocation was heard by %v", got)
		}
	}
	for pool, n := range readers {
		await(t, pool, `SELECT count(*)::int FROM effect`, n)
	}
}

// before is how set-ups of earlier versions wrote the settings: one account, and a stream of every service in it.
const before = `
jetstream { store_dir: "/data", sync_interval: always }
authorization {
  users: [
    { user: auth, password: "a", permissions: { publish: ["auth.>", "$JS.API.>"], subscribe: ["_INBOX.>", "auth.>", "vm.>", "ip.>"] } }
    { user: vm, password: "v", permissions: { publish: ["vm.>", "$JS.API.>"], subscribe: ["_INBOX.>", "auth.>", "vm.>", "ip.>"] } }
  ]
}
`

// TestUpgradeOfTheBus: an installation whose services shared one account gets an account for each. No event is lost, and none
// takes effect twice.
func TestUpgradeOfTheBus(t *testing.T) {
	t.Parallel()
	c := config(t)
	store, owner, reader := t.TempDir(), pgtest.New(t, outbox.Migrations), pgtest.New(t, outbox.Migrations)
	t.Run("before", func(t *testing.T) {
		at := natsServer(t, before, store)
		t.Run("read", func(t *testing.T) {
			readerOf(t, reader, connect(t, "nats://vm:v@"+at), "vm-auth", "auth")
			relayOf(t, owner, connect(t, "nats://auth:a@"+at), "auth.v4.user.updated", 0, 10)
			await(t, reader, `SELECT count(*)::int FROM effect`, 10)
		})
		t.Run("unread", func(t *testing.T) { relayOf(t, owner, connect(t, "nats://auth:a@"+at), "auth.v4.user.updated", 10, 20) })
	})
	at := natsServer(t, text(t, c.key("nats", "nats.conf")), store)
	readerOf(t, reader, connect(t, c.urlAt(t, "vm", at)), "vm-auth", "auth")
	relayOf(t, owner, connect(t, c.urlAt(t, "auth", at)), "auth.v4.user.updated", 20, 30)
	await(t, reader, `SELECT count(*)::int FROM effect`, 30)
	await(t, reader, `SELECT count(DISTINCT n)::int FROM effect`, 30)
}
