package bus_test

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"slipway.dev/pkg/bus"
)

// cluster is three servers in this process.
type cluster struct {
	servers []*server.Server
	url     string
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	var routes []*url.URL
	var ports []int
	for range 3 {
		l, err := net.Listen("tcp", "127.0.0.1:0") // a port that is free: the servers have to know each other's
		if err != nil {
			t.Fatal(err)
		}
		port := l.Addr().(*net.TCPAddr).Port
		_ = l.Close()
		ports = append(ports, port)
		routes = append(routes, &url.URL{Scheme: "nats-route", Host: fmt.Sprintf("127.0.0.1:%d", port)})
	}
	c := &cluster{}
	var urls []string
	for i, port := range ports {
		s, err := server.NewServer(&server.Options{
			ServerName: fmt.Sprint("s", i), Host: "127.0.0.1", Port: -1, NoSigs: true, JetStream: true, StoreDir: t.TempDir(), SyncAlways: true,
			Cluster: server.ClusterOpts{Name: "c", Host: "127.0.0.1", Port: port}, Routes: routes,
		})
		if err != nil {
			t.Fatal(err)
		}
		s.Start()
		t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
		c.servers = append(c.servers, s)
	}
	for _, s := range c.servers {
		if !s.ReadyForConnections(time.Minute) {
			t.Fatal("a server is not ready")
		}
		urls = append(urls, s.ClientURL())
	}
	c.url = strings.Join(urls, ",")
	return c
}

func (c *cluster) connect(t *testing.T, opts ...bus.Option) *bus.Bus {
	t.Helper()
	b, err := bus.Connect(t.Context(), c.url, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

// stream returns what a server that runs says of the stream.
func (c *cluster) stream(t *testing.T, b *bus.Bus) (*jetstream.StreamInfo, error) {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), 5*time.Second)
	defer stop()
	return bus.StreamInfo(ctx, b, "vm")
}

// TestClusterKeepsThreeCopies: without a setting three servers of a cluster keep each event. The leader is killed, and then another
// server is gone for good: while two of three work no event is lost, and they go on in order.
func TestClusterKeepsThreeCopies(t *testing.T) {
	t.Parallel()
	c, s := newCluster(t), newSink(t)
	old := c.connect(t, bus.WithReplicas(1)) // as earlier versions made it
	publish(t, old, 0, 5)
	b := c.connect(t)
	eventually(t, func() string {
		if _, err := b.Look(t.Context(), "vm"); err != nil {
			return err.Error()
		}
		info, err := c.stream(t, b)
		if err != nil || info.Config.Replicas != 3 || info.Cluster == nil || len(info.Cluster.Replicas) != 2 {
			return fmt.Sprintf("%+v %v", info, err)
		}
		for _, r := range info.Cluster.Replicas {
			if !r.Current {
				return "a replica is not current"
			}
		}
		return ""
	})
	s.start(t, b)
	publish(t, b, 5, 20)
	s.await(t, upTo(20))
	info, err := c.stream(t, b)
	if err != nil {
		t.Fatal(err)
	}
	for _, srv := range c.servers {
		if srv.Name() == info.Cluster.Leader {
			srv.Shutdown() // and never comes back
			srv.WaitForShutdown()
		}
	}
	publish(t, b, 20, 40)
	s.await(t, upTo(40))
}

// TestStreamsFitASmallServer: a server that promises its streams little has room for a stream of each service all the same, and goes
// on when it is started with still less.
func TestStreamsFitASmallServer(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, most := range []int64{100 << 20, 20 << 20} {
		s, err := server.NewServer(&server.Options{
			Host: "127.0.0.1", Port: -1, NoSigs: true, JetStream: true, StoreDir: dir, JetStreamMaxStore: most,
		})
		if err != nil {
			t.Fatal(err)
		}
		s.Start()
		if !s.ReadyForConnections(time.Minute) {
			t.Fatal("the server is not ready")
		}
		b, err := bus.Connect(t.Context(), s.ClientURL())
		if err != nil {
			t.Fatal(err)
		}
		for _, service := range []string{"auth", "ip", "vm", "toy"} {
			eventually(t, func() string {
				if _, err := b.Look(t.Context(), service); err != nil {
					return err.Error()
				}
				return ""
			})
		}
		b.Close()
		s.Shutdown()
		s.WaitForShutdown()
	}
}

// TestNoRoomIsAskedForOnce: a stream for which there is no more room works as it is, and is not asked for again with each look.
func TestNoRoomIsAskedForOnce(t *testing.T) {
	t.Parallel()
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", DontListen: true, NoSigs: true, JetStream: true, StoreDir: t.TempDir(), JetStreamMaxStore: 20 << 20,
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	b := connect(t, s)
	if _, err := b.Look(t.Context(), "vm"); err != nil {
		t.Fatal(err)
	}
	asked, flush := tap(t, s, "$JS.API.STREAM.>")
	if state, err := b.Look(t.Context(), "vm"); err != nil || state.MaxBytes >= 20<<20 {
		t.Errorf("%+v %v", state, err)
	}
	flush()
	for len(asked) > 0 {
		if m := <-asked; !strings.HasPrefix(m.Subject, "$JS.API.STREAM.INFO.") {
			t.Errorf("it asks for %s", m.Subject)
		}
	}
}
