//go:build e2e

package ha

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	natsd "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// asNATS names the variable that makes this program a NATS server, a process that a test can kill.
const asNATS = "SLIPWAY_HA_NATS"

func TestMain(m *testing.M) {
	if text := os.Getenv(asNATS); text != "" {
		if err := serveNATS(text); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// natsServer is one of three NATS servers. It has a loopback address of its own, so that its ports are free.
type natsServer struct {
	Name, Host, Dir string
	Others          []string

	cmd *exec.Cmd
}

const (
	natsPort  = 24222
	routePort = 26222
)

func serveNATS(text string) error {
	var n natsServer
	if err := json.Unmarshal([]byte(text), &n); err != nil {
		return err
	}
	o := &natsd.Options{
		ServerName: n.Name, Host: n.Host, Port: natsPort, NoSigs: true, JetStream: true, StoreDir: n.Dir, SyncAlways: true,
		Cluster: natsd.ClusterOpts{Name: "c", Host: n.Host, Port: routePort},
	}
	for _, host := range n.Others {
		o.Routes = append(o.Routes, &url.URL{Scheme: "nats-route", Host: fmt.Sprintf("%s:%d", host, routePort)})
	}
	o.LogFile, o.Logtime = n.log(), true
	s, err := natsd.NewServer(o)
	if err != nil {
		return err
	}
	s.ConfigureLogger()
	s.Start()
	s.WaitForShutdown()
	return nil
}

func (n *natsServer) url() string { return fmt.Sprintf("nats://%s:%d", n.Host, natsPort) }

func (n *natsServer) log() string { return filepath.Join(n.Dir, "log") }

// complaints are the warnings and errors that the server logged.
func (n *natsServer) complaints() (lines []string) {
	text, _ := os.ReadFile(n.log()) // none, if the server never started
	for line := range strings.Lines(string(text)) {
		if strings.Contains(line, "[WRN]") || strings.Contains(line, "[ERR]") || strings.Contains(line, "[FTL]") {
			lines = append(lines, line)
		}
	}
	return lines
}

func (n *natsServer) start(t *testing.T) {
	t.Helper()
	text, err := json.Marshal(n)
	must(t, err)
	n.cmd = exec.Command(os.Args[0])
	n.cmd.Env = append(os.Environ(), asNATS+"="+string(text))
	n.cmd.Stderr = os.Stderr
	n.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	must(t, n.cmd.Start())
}

func (n *natsServer) kill() {
	_ = n.cmd.Process.Kill()
	_ = n.cmd.Wait() // it was killed
}

// loopback returns a loopback address that no other process of these tests has.
func loopback(n int) string {
	pid := os.Getpid()
	return fmt.Sprintf("127.%d.%d.%d", 64+pid>>8&63, pid&255, n)
}

// newBus starts three servers and returns them with their URLs.
func newBus(t *testing.T) (all []*natsServer, urls string) {
	t.Helper()
	hosts := []string{loopback(1), loopback(2), loopback(3)}
	var list []string
	for i, host := range hosts {
		n := &natsServer{Name: fmt.Sprint("n", i), Host: host, Dir: t.TempDir(), Others: hosts}
		n.start(t)
		t.Cleanup(func() {
			n.kill()
			if t.Failed() {
				t.Logf("%s: %s", n.Name, n.complaints())
			}
		})
		all, list = append(all, n), append(list, n.url())
	}
	urls = strings.Join(list, ",")
	await(t, "the bus has a leader", func() bool {
		_, err := onBus(t, urls, func(ctx context.Context, js jetstream.JetStream) (string, error) {
			_, err := js.AccountInfo(ctx)
			return "", err
		})
		return err == nil
	})
	return all, urls
}

// onBus asks JetStream with a connection of its own.
func onBus(t *testing.T, urls string, f func(context.Context, jetstream.JetStream) (string, error)) (string, error) {
	t.Helper()
	nc, err := nats.Connect(urls)
	if err != nil {
		return "", err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return "", err
	}
	ctx, stop := context.WithTimeout(t.Context(), 5*time.Second)
	defer stop()
	return f(ctx, js)
}

// info returns what the bus says of vm's stream: its leader, and how many copies are up to date.
func info(t *testing.T, urls string) (leader string, current int) {
	t.Helper()
	leader, err := onBus(t, urls, func(ctx context.Context, js jetstream.JetStream) (string, error) {
		s, err := js.Stream(ctx, "vm")
		if err != nil {
			return "", err
		}
		c := s.CachedInfo().Cluster
		current = 1
		for _, r := range c.Replicas {
			if r.Current && !r.Offline {
				current++
			}
		}
		return c.Leader, nil
	})
	if err != nil {
		return "", 0
	}
	return leader, current
}

// TestBusLeaderKilled kills the server that leads vm's stream. No request fails, no event is lost, and events go on; the
// server comes back and catches up.
func TestBusLeaderKilled(t *testing.T) {
	t.Parallel()
	servers, urls := newBus(t)
	db := newPrimary(t, workDir(t))
	s := newStackOn(t, []string{db.clients.Addr()}, "SLIPWAY_NATS_URL="+urls)
	l := startLoad(s)
	l.await(15, time.Time{})
	var dead *natsServer
	await(t, "the stream has a leader and three copies", func() bool {
		leader, current := info(t, urls)
		for _, n := range servers {
			if n.Name == leader && current == 3 {
				dead = n
			}
		}
		return dead != nil
	})
	await(t, "slipway check misses nothing", func() bool { // on a busy machine a copy may be behind as long as something is written
		missing, facts := s.missing("bus")
		return len(missing) == 0 && slices.Contains(facts, "the stream vm has 3 copies")
	})
	dead.kill()
	killed := time.Now()
	l.recovered(killed, db)
	l.await(15, time.Now())
	lost := "the copy of the stream vm on " + dead.Name + " is offline or behind"
	await(t, "slipway check misses the copy", func() bool { missing, _ := s.missing("bus"); return slices.Contains(missing, lost) })
	dead.start(t)
	l.await(15, time.Now())
	l.check(false) // after this nothing is written: on a busy machine a copy may follow behind as long as something is
	await(t, "three copies are up to date", func() bool { _, current := info(t, urls); return current == 3 })
	for _, a := range l.answers {
		if a.status/100 != 2 && a.status != 0 { // the end of the load cuts requests off
			t.Errorf("%s: %d %.200s", a.kind, a.status, a.text)
		}
	}
	s.rest()
}
