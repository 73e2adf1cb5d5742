package setup

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"slipway.dev/pkg/conf"
	"slipway.dev/pkg/pki"
)

func config(t *testing.T) Config {
	t.Helper()
	c, err := conf.Load[Config]("SLIPWAY_SETUP_TEST")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	c.Authority, c.Keys, c.Templates = filepath.Join(dir, "authority"), filepath.Join(dir, "keys"), filepath.Join(dir, "templates")
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
		"gateway": {"ca.crt", "gateway.crt", "gateway.key", "nats"}, "postgres": {"password"}, "nats": {"nats.conf"},
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
		if _, err := pki.Load(filepath.Join(c.Keys, service), service); err != nil && service != "postgres" && service != "nats" {
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
		if !o.SyncAlways || !o.JetStream || len(o.Users) != len(onBus) || o.HTTPHost != "127.0.0.1" {
			t.Errorf("settings %+v", o)
		}
		if routes := len(o.Routes); len(hosts) == 1 && routes != 0 || len(hosts) == 3 && routes != 3 {
			t.Errorf("%d routes between %d servers", routes, len(hosts))
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
