//go:build containers

// Package containers tests against separate servers: a PostgreSQL with passwords and roles, and a NATS cluster of
// three. They run in Docker, from the images that docker-compose.yml names.
package containers

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/moby/moby/api/types/container"
	dockernet "github.com/moby/moby/api/types/network"
	"github.com/nats-io/nats.go"
	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/network"
	"github.com/testcontainers/testcontainers-go/wait"

	"slipway.dev/deploy/setup"
	"slipway.dev/pkg/bus"
	"slipway.dev/pkg/conf"
	"slipway.dev/pkg/pg"
)

// TestMain makes testcontainers connect by the loopback, even if it takes this machine for a container, and disables
// the reaper, because its image is not available everywhere.
func TestMain(m *testing.M) {
	for k, v := range map[string]string{"TESTCONTAINERS_HOST_OVERRIDE": "127.0.0.1", "TESTCONTAINERS_RYUK_DISABLED": "true"} {
		if err := os.Setenv(k, v); err != nil {
			panic(err)
		}
	}
	os.Exit(m.Run())
}

// start starts a container, whose ports are published on the loopback alone.
func start(t *testing.T, r testcontainers.ContainerRequest) testcontainers.Container {
	t.Helper()
	r.HostConfigModifier = func(h *container.HostConfig) {
		h.PortBindings = dockernet.PortMap{}
		for _, p := range r.ExposedPorts {
			h.PortBindings[dockernet.MustParsePort(p)] = []dockernet.PortBinding{{HostIP: netip.MustParseAddr("127.0.0.1")}}
		}
	}
	c, err := testcontainers.GenericContainer(t.Context(), testcontainers.GenericContainerRequest{ContainerRequest: r, Started: true})
	testcontainers.CleanupContainer(t, c)
	if err != nil {
		t.Fatalf("%s: %v", r.Image, err)
	}
	inside, err := c.Inspect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for port, at := range inside.NetworkSettings.Ports {
		for _, b := range at {
			if !b.HostIP.IsLoopback() {
				t.Errorf("%s publishes %s on %s", r.Image, port, b.HostIP)
			}
		}
	}
	return c
}

func addr(t *testing.T, c testcontainers.Container, port string) string {
	t.Helper()
	p, err := c.MappedPort(t.Context(), port)
	if err != nil {
		t.Fatal(err)
	}
	return "127.0.0.1:" + p.Port()
}

func config(t *testing.T) setup.Config {
	t.Helper()
	c, err := conf.Load[setup.Config]("SLIPWAY_CONTAINERS_TEST")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	c.Authority, c.Keys, c.Templates = filepath.Join(dir, "authority"), filepath.Join(dir, "keys"), filepath.Join(dir, "templates")
	return c
}

func read(t *testing.T, path ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}

// TestRoles: a service's role reads and writes the rows of its own schema, and can do nothing else.
func TestRoles(t *testing.T) {
	c := config(t)
	if err := setup.Keys(c); err != nil {
		t.Fatal(err)
	}
	db := start(t, testcontainers.ContainerRequest{
		Image: "postgres:15-bookworm", ExposedPorts: []string{"5432/tcp"},
		Cmd:        []string{"postgres", "-c", fmt.Sprintf("max_connections=%d", c.PostgresConnections)},
		Env:        map[string]string{"POSTGRES_USER": "slipway", "POSTGRES_DB": "slipway", "POSTGRES_PASSWORD": read(t, c.Keys, "postgres", "password")},
		WaitingFor: wait.ForExec([]string{"pg_isready", "-h", "127.0.0.1", "-U", "slipway", "-d", "slipway"}).WithStartupTimeout(2 * time.Minute),
	})
	c.PostgresHost = addr(t, db, "5432/tcp")
	if err := setup.Keys(c); err != nil { // the URLs follow the settings
		t.Fatal(err)
	}
	for range 2 { // every start does so
		if err := setup.Migrate(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	url, _, _ := strings.Cut(read(t, c.Keys, "auth", "database"), "?") // what follows is for pools
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	for sql, allowed := range map[string]bool{
		`INSERT INTO auth.inbox (consumer, event_id) VALUES ('c', gen_random_uuid())`: true,
		`UPDATE auth.inbox SET seen_at = now()`:                                       true,
		`DELETE FROM auth.inbox`:                                                      true,
		`SELECT count(*) FROM auth.outbox`:                                            true,
		`CREATE TABLE auth.mine (id integer)`:                                         false,
		`DROP TABLE auth.outbox`:                                                      false,
		`ALTER TABLE auth.outbox ADD x integer`:                                       false,
		`TRUNCATE auth.outbox`:                                                        false,
		`CREATE SCHEMA mine`:                                                          false,
		`CREATE TABLE public.mine (id integer)`:                                       false,
		`SELECT count(*) FROM vm.host`:                                                false,
		`SELECT count(*) FROM ip.outbox`:                                              false,
		`ALTER ROLE slipway_auth SUPERUSER`:                                           false,
		`COPY auth.outbox TO PROGRAM 'true'`:                                          false,
		`SET ROLE slipway`:                                                            false,
	} {
		_, err := conn.Exec(t.Context(), sql)
		if code := pg.Code(err); allowed && err != nil || !allowed && code != "42501" {
			t.Errorf("%s: %v", sql, err)
		}
	}
	if _, err := pgx.Connect(t.Context(), strings.Replace(url, "slipway_auth:", "slipway_vm:", 1)); err == nil {
		t.Error("vm's role takes auth's password")
	}
}

// TestNATSCluster runs three servers with our own settings: an event survives the loss of any one server, and a
// service can neither publish in another's name nor delete a stream.
func TestNATSCluster(t *testing.T) {
	c := config(t)
	c.NATSHosts = []string{"nats-1", "nats-2", "nats-3"}
	if err := setup.Keys(c); err != nil {
		t.Fatal(err)
	}
	inside, err := network.New(t.Context())
	testcontainers.CleanupNetwork(t, inside)
	if err != nil {
		t.Fatal(err)
	}
	servers := dialer{ctx: t.Context(), at: map[string]testcontainers.Container{}}
	var urls []string
	for i, name := range c.NATSHosts {
		at := fmt.Sprintf("127.0.0.1:%d", i+1) // what dialer is asked for
		servers.at[at] = start(t, testcontainers.ContainerRequest{
			Image: "nats:2.15.2-alpine", ExposedPorts: []string{"4222/tcp"},
			Entrypoint:     []string{"nats-server", "--config", "/keys/nats.conf", "--name", name},
			Networks:       []string{inside.Name},
			NetworkAliases: map[string][]string{inside.Name: {name}},
			Files:          []testcontainers.ContainerFile{{HostFilePath: filepath.Join(c.Keys, "nats", "nats.conf"), ContainerFilePath: "/keys/nats.conf", FileMode: 0o644}},
			WaitingFor:     wait.ForListeningPort("4222/tcp").SkipInternalCheck(),
		})
		urls = append(urls, strings.Replace(read(t, c.Keys, "auth", "nats"), c.NATSHosts[0]+":4222", at, 1))
	}
	for i, u := range urls {
		urls[i], _, _ = strings.Cut(u, ",")
	}
	// Servers announce each other to clients by addresses that only the servers can reach.
	b, err := bus.Connect(t.Context(), strings.Join(urls, ","), bus.WithReplicas(3),
		bus.WithNATS(nats.SetCustomDialer(servers), nats.IgnoreDiscoveredServers(), nats.Timeout(2*time.Second)))
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	publish := func(n int) {
		t.Helper()
		e := bus.Event{ID: fmt.Sprintf("00000000-0000-4000-8000-%012d", n), Subject: "auth.v4.user.created", Key: "k", Type: "t", Time: time.Now()}
		retry(t, "publish", func() error {
			ctx, stop := context.WithTimeout(t.Context(), 5*time.Second)
			defer stop()
			_, err := b.Publish(ctx, e)
			return err
		})
	}
	retry(t, "stream", func() error { return b.EnsureStream(t.Context(), "auth") }) // the three have to agree first
	publish(0)
	for i := range c.NATSHosts {
		s := servers.at[fmt.Sprintf("127.0.0.1:%d", i+1)]
		if err := s.Stop(t.Context(), new(time.Duration)); err != nil {
			t.Fatal(err)
		}
		publish(i + 1)
		if err := s.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
	}

	nc, err := nats.Connect(strings.Join(urls, ","), nats.SetCustomDialer(servers), nats.IgnoreDiscoveredServers(), nats.MaxReconnects(-1))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := nc.JetStream()
	if err != nil {
		t.Fatal(err)
	}
	retry(t, "all events", func() error {
		info, err := js.StreamInfo("auth")
		if err == nil && info.State.Msgs != 4 {
			err = fmt.Errorf("%d events", info.State.Msgs)
		}
		if err == nil && info.Config.Replicas != 3 {
			err = fmt.Errorf("%d replicas", info.Config.Replicas)
		}
		return err
	})
	if err := js.DeleteStream("auth", nats.MaxWait(2*time.Second)); err == nil {
		t.Error("a service deleted a stream")
	}
	if _, err := js.Publish("vm.v3.host.created", nil, nats.AckWait(2*time.Second)); err == nil {
		t.Error("auth spoke in the name of vm")
	}
}

// A dialer reaches servers at the ports that Docker chose for them, which change with every start of a container.
type dialer struct {
	ctx context.Context
	at  map[string]testcontainers.Container
}

// Dial connects to the server that goes by this address.
func (d dialer) Dial(network, address string) (net.Conn, error) {
	p, err := d.at[address].MappedPort(d.ctx, "4222/tcp")
	if err != nil {
		return nil, err
	}
	return net.DialTimeout(network, "127.0.0.1:"+p.Port(), 2*time.Second)
}

// retry repeats f until it succeeds, for changes on which servers must agree first.
func retry(t *testing.T, what string, f func() error) {
	t.Helper()
	var err error
	for range 120 {
		if err = f(); err == nil {
			return
		}
		time.Sleep(250 * time.Millisecond)
	}
	t.Fatalf("%s: %v", what, err)
}
