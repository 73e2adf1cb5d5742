package setup

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats-server/v2/server"

	"slipway.dev/deploy/parts"
	"slipway.dev/pkg/conf"
	"slipway.dev/pkg/pg"
	"slipway.dev/pkg/pg/pgtest"
	"slipway.dev/pkg/pki"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

func config(t *testing.T) Config {
	t.Helper()
	c, err := conf.Load[Config]("SLIPWAY_SETUP_TEST")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	c.Authority, c.Keys, c.Data = filepath.Join(dir, "authority"), filepath.Join(dir, "keys"), filepath.Join(dir, "data")
	c.Templates = filepath.Join(dir, "templates")
	if err := Keys(c); err != nil {
		t.Fatal(err)
	}
	return c
}

func text(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestKeys: each service has what it needs and nothing of another; another start changes nothing but what was set anew.
func TestKeys(t *testing.T) {
	t.Parallel()
	c := config(t)
	has := map[string][]string{
		"auth": {"auth.crt", "auth.key", "ca.crt", "database", "master-key", "nats"}, "vm": {"ca.crt", "database", "nats", "vm.crt", "vm.key"},
		"ip": {"ca.crt", "database", "ip.crt", "ip.key", "nats"}, "node": {"ca.crt", "node.crt", "node.key", "stack-id"},
		"node-libvirt": {"ca.crt", "node.crt", "node.key", "stack-id"},
		"gateway":      {"ca.crt", "gateway.crt", "gateway.key", "nats"}, "postgres": {"password"}, "nats": {"nats.conf"},
	}
	before := map[string]string{}
	for service, want := range has {
		files, err := os.ReadDir(filepath.Join(c.Keys, service))
		if err != nil || len(files) != len(want) {
			t.Fatalf("%s: %v %v", service, files, err)
		}
		for i, f := range files {
			if f.Name() != want[i] {
				t.Errorf("%s has %s", service, f.Name())
			}
			before[c.key(service, f.Name())] = text(t, c.key(service, f.Name()))
			if info, err := f.Info(); err != nil || f.Name() == service+".key" && info.Mode().Perm() != 0o600 {
				t.Errorf("%s: %v %v", f.Name(), info.Mode(), err)
			}
		}
		if _, err := pki.Load(filepath.Join(c.Keys, service), strings.TrimSuffix(service, "-libvirt")); err != nil && service != "postgres" && service != "nats" {
			t.Error(err)
		}
	}
	c.NATSHosts = []string{"nats", "nats-2", "nats-3"}
	if err := Keys(c); err != nil {
		t.Fatal(err)
	}
	for path, old := range before {
		changed := filepath.Base(path) == "nats" || filepath.Base(path) == "nats.conf"
		if (text(t, path) != old) != changed {
			t.Errorf("%s: changed %v", path, !changed)
		}
	}
}

// TestBusSettings: NATS understands what we write, for one server and for three.
func TestBusSettings(t *testing.T) {
	t.Parallel()
	c := config(t)
	for _, hosts := range [][]string{{"nats"}, {"nats", "nats-2", "nats-3"}} {
		c.NATSHosts = hosts
		if err := natsKeys(c); err != nil {
			t.Fatal(err)
		}
		o, err := server.ProcessConfigFile(c.key("nats", "nats.conf"))
		if err != nil {
			t.Fatal(err)
		}
		if !o.SyncAlways || !o.JetStream || len(o.Users) != 4 || o.HTTPHost != "127.0.0.1" {
			t.Errorf("settings %+v", o)
		}
		if routes := len(o.Routes); len(hosts) == 1 && routes != 0 || len(hosts) == 3 && routes != 3 {
			t.Errorf("%d routes between %d servers", routes, len(hosts))
		}
	}
}

// TestALineIsEnough: a service that is added to the table has a certificate, a URL of the database with its share of the
// connections, and an account on the bus that speaks in its own name and hears the services that the line names.
func TestALineIsEnough(t *testing.T) {
	t.Parallel()
	c := config(t)
	c.parts = append(parts.All(), parts.Part{
		Name: "toy", Port: 8199, OnBus: true, Weight: 1, Reads: []string{"ip"}, Migrate: func(context.Context, *pgxpool.Pool) error { return nil },
	})
	if err := Keys(c); err != nil {
		t.Fatal(err)
	}
	if _, err := pki.Load(filepath.Join(c.Keys, "toy"), "toy"); err != nil {
		t.Error(err)
	}
	url, err := pgxpool.ParseConfig(text(t, c.key("toy", "database")))
	if err != nil || url.ConnConfig.User != "slipway_toy" || url.MaxConns < pg.LeastConns {
		t.Errorf("the database of the toy: %v %v", url, err)
	}
	if !strings.HasPrefix(text(t, c.key("toy", "nats")), "nats://toy:") {
		t.Error("the toy has no user on the bus")
	}
	o, err := server.ProcessConfigFile(c.key("nats", "nats.conf"))
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range o.Users {
		if u.Account.GetName() != u.Username {
			t.Errorf("%s is in the account of %s", u.Username, u.Account.GetName())
		}
		if slices.Contains(u.Permissions.Publish.Allow, "toy.>") != (u.Username == "toy") {
			t.Errorf("%s: %v", u.Username, u.Permissions.Publish.Allow)
		}
		if u.Username == "toy" && !slices.Contains(u.Permissions.Subscribe.Allow, "ip.>") {
			t.Error("the toy does not hear ip")
		}
	}
}

// TestTooManyServices: services that do not fit the database stop the set-up, which says what they need.
func TestTooManyServices(t *testing.T) {
	t.Parallel()
	c := config(t)
	c.Replicas = 20
	if err := Keys(c); err == nil || !strings.Contains(err.Error(), "max_connections=370") {
		t.Error(err)
	}
	c.PostgresConnections = 100_000
	if err := c.fits(t.Context(), pgtest.URL(t)); err == nil || !strings.Contains(err.Error(), "SLIPWAY_POSTGRES_CONNECTIONS") {
		t.Error(err)
	}
	c.PostgresConnections = 10
	if err := c.fits(t.Context(), pgtest.URL(t)); err != nil {
		t.Error(err)
	}
}

// TestRole: the role of a service reads and writes rows of its schema, and changes no table.
func TestRole(t *testing.T) {
	t.Parallel()
	url, schema := pgtest.Schema(t)
	pool := pgtest.Open(t, url, schema)
	t.Cleanup(func() {
		who := pgx.Identifier{role(schema)}.Sanitize()
		if _, err := pool.Exec(context.WithoutCancel(t.Context()), `DROP OWNED BY `+who+`; DROP ROLE `+who); err != nil {
			t.Error(err)
		}
	})
	if _, err := pool.Exec(t.Context(), `CREATE TABLE thing (id integer)`); err != nil {
		t.Fatal(err)
	}
	for range 2 { // every start does so
		if err := grant(t.Context(), pool, schema, "password"); err != nil {
			t.Fatal(err)
		}
	}
	for sql, allowed := range map[string]bool{
		`INSERT INTO thing VALUES (1)`: true, `SELECT id FROM thing`: true, `DROP TABLE thing`: false, `CREATE TABLE more (id integer)`: false,
	} {
		_, err := pool.Exec(t.Context(), `SET LOCAL ROLE `+pgx.Identifier{role(schema)}.Sanitize()+`; `+sql)
		if code := pg.Code(err); allowed && err != nil || !allowed && code != "42501" {
			t.Errorf("%s: %v", sql, err)
		}
	}
}

// TestRenewal: certificates are replaced when half of their life is over, and only then; who looks sees when they are not.
func TestRenewal(t *testing.T) {
	t.Parallel()
	c := config(t)
	ca, err := pki.OpenAuthority(c.Authority)
	if err != nil {
		t.Fatal(err)
	}
	first := text(t, c.key("vm", "vm.crt"))
	for _, after := range []time.Duration{time.Hour, 13 * time.Hour} {
		if err := renew(ca, c, time.Now().Add(after)); err != nil {
			t.Fatal(err)
		}
		if renewed := text(t, c.key("vm", "vm.crt")) != first; renewed != (after > 12*time.Hour) {
			t.Errorf("after %s: renewed %v", after, renewed)
		}
	}
	if err := Fresh(c); err != nil {
		t.Error(err)
	}
	if err := os.Remove(c.key("ip", "ip.crt")); err != nil {
		t.Fatal(err)
	}
	if err := Fresh(c); err == nil {
		t.Error("a missing certificate is fresh")
	}
}

// TestStandIn: an image that is there is left alone.
func TestStandIn(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "mine.json"), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := standIn(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "tiny.json")); err == nil {
		t.Error("a stand-in stands beside a real image")
	}
}
