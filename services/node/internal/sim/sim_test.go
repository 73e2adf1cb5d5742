package sim_test

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"go.uber.org/goleak"

	"slipway.dev/services/node/internal/hyper"
	"slipway.dev/services/node/internal/hypertest"
	"slipway.dev/services/node/internal/sim"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const stack = "stack-a"

var template = strings.Repeat("ab", 32)

func open(t *testing.T, cfg sim.Config) *sim.Driver {
	t.Helper()
	if cfg.StackID == "" {
		cfg.StackID = stack
	}
	cfg.NodeID, cfg.HasTemplate = "node-1", func(s string) bool { return s == template }
	d, err := sim.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

func TestSuite(t *testing.T) {
	t.Parallel()
	var dir string
	hypertest.Run(t, func(t *testing.T) hyper.Driver {
		dir = t.TempDir()
		return open(t, sim.Config{Dir: dir})
	}, hypertest.Options{
		Consoles: true,
		StackID:  stack, Template: template, TemplateMiB: 8, Growth: true, Plugs: true, Dir: func(t *testing.T) string { return t.TempDir() },
		Network: func(*testing.T) hyper.Network {
			return hyper.Network{Name: "br-suite", Addresses: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/24")}}
		},
		Mute:    func(_ *testing.T, d hyper.Driver, id uuid.UUID) { d.(*sim.Driver).Mute(id) },
		Login:   func(_ *testing.T, d hyper.Driver, id uuid.UUID) string { return d.(*sim.Driver).Login(id) },
		Allowed: func(_ *testing.T, d hyper.Driver, id uuid.UUID) []netip.Addr { return d.(*sim.Driver).Allowed(id) },
		Limits: func(_ *testing.T, d hyper.Driver, id uuid.UUID) (l hypertest.Limited) {
			for _, n := range d.(*sim.Driver).Ran(id).NICs {
				l.InMbit, l.OutMbit = n.InMbit, n.OutMbit
				for _, r := range n.Firewall {
					l.In, l.Out = l.In || !r.Out, l.Out || r.Out
				}
			}
			return l
		},
		Bridge: func(t *testing.T, d hyper.Driver, name string) []netip.Prefix {
			list, err := d.Networks(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, n := range list {
				if n.Name == name {
					return n.Addresses
				}
			}
			return nil
		},
		Crash: func(_ *testing.T, d hyper.Driver, id uuid.UUID) { d.(*sim.Driver).Crash(id) },
		Lose:  func(_ *testing.T, d hyper.Driver, id uuid.UUID, disk string) { d.(*sim.Driver).Lose(id, disk) },
		Foreign: func(t *testing.T, d hyper.Driver) uuid.UUID {
			other := open(t, sim.Config{StackID: "stack-b", Dir: dir})
			m := hypertest.Machine(t, other)
			if err := errors.Join(other.Define(context.Background(), m), other.Start(context.Background(), m.UUID)); err != nil {
				t.Fatal(err)
			}
			if err := d.(*sim.Driver).Reload(); err != nil {
				t.Fatal(err)
			}
			return m.UUID
		},
		// Not closed first: a killed agent does not close.
		Reopen: func(t *testing.T, _ hyper.Driver) hyper.Driver { return open(t, sim.Config{Dir: dir}) },
		Traces: func(t *testing.T, id uuid.UUID) []string {
			left, err := filepath.Glob(filepath.Join(dir, id.String()+"*"))
			if err != nil {
				t.Fatal(err)
			}
			return left
		},
	})
}

func TestConsole(t *testing.T) {
	t.Parallel()
	d, ctx := open(t, sim.Config{}), context.Background()
	m, s := hypertest.Machine(t, d), hypertest.Seed()
	s.Hostname, s.Links[0].Addresses = "web1", []netip.Prefix{netip.MustParsePrefix("192.0.2.9/24")}
	if err := errors.Join(d.EnsureSeed(ctx, m.UUID, s), d.Define(ctx, m), d.Start(ctx, m.UUID)); err != nil {
		t.Fatal(err)
	}
	got, err := d.Console(ctx, m.UUID, 1024)
	if want := "slipway-guest ready web1 192.0.2.9\n"; err != nil || string(got) != want {
		t.Errorf("console %q %v, want %q", got, err, want)
	}
	if got, _ := d.Console(ctx, m.UUID, 4); string(got) != "2.9\n" {
		t.Errorf("tail %q", got)
	}
}

func TestFailures(t *testing.T) {
	t.Parallel()
	boom := errors.New("boom")
	var before, after error
	d := open(t, sim.Config{
		Latency: func(string) time.Duration { return time.Microsecond },
		Hook:    func(context.Context, string, uuid.UUID) error { return before },
		After:   func(_ context.Context, op string, _ uuid.UUID) error { return after },
	})
	ctx, m := context.Background(), hypertest.Machine(t, d)
	before = boom
	if err := d.Define(ctx, m); !errors.Is(err, boom) {
		t.Errorf("before: %v", err)
	}
	before = nil
	if st, _ := d.State(ctx, m.UUID); st.Power != hyper.Absent {
		t.Errorf("failed before the work, and is %s", st.Power)
	}
	after = boom
	if err := d.Define(ctx, m); !errors.Is(err, boom) {
		t.Errorf("after: %v", err)
	}
	after = nil
	if st, _ := d.State(ctx, m.UUID); st.Power != hyper.Off {
		t.Errorf("failed after the work, and is %s", st.Power)
	}
}

func TestCloseDropsIdleBridges(t *testing.T) {
	t.Parallel()
	dir, ctx := t.TempDir(), context.Background()
	d := open(t, sim.Config{Dir: dir})
	if err := d.EnsureNetwork(ctx, hyper.Network{Name: "br-idle"}); err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := d.List(ctx); !errors.Is(err, hyper.ErrUnavailable) {
		t.Errorf("list of a closed driver: %v", err)
	}
	if n, err := open(t, sim.Config{Dir: dir}).Networks(ctx); err != nil || len(n) != 0 {
		t.Errorf("left %v, %v", n, err)
	}
}

func TestBrokenFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	d := open(t, sim.Config{Dir: dir})
	m := hypertest.Machine(t, d)
	path := filepath.Join(dir, "machines.log")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, append(text, `{"gone":"`...), 0o600); err != nil { // killed in the middle of a record
		t.Fatal(err)
	}
	if s, err := open(t, sim.Config{Dir: dir}).State(context.Background(), m.UUID); err != nil {
		t.Errorf("after half a record: %v %v", s, err)
	}
	if err := os.WriteFile(path, []byte("nonsense\n{\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := sim.Open(sim.Config{StackID: stack, Dir: dir}); err == nil {
		t.Error("a broken file was taken for no machine")
	}
}

func BenchmarkCreate(b *testing.B) {
	d, err := sim.Open(sim.Config{StackID: stack, Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	ctx, s := context.Background(), hypertest.Seed()
	for b.Loop() {
		m := hyper.Machine{UUID: uuid.New(), CPUs: 1, MemoryMiB: 512, Seed: true, Disks: []hyper.Disk{{Name: "root", SizeMiB: 1}}}
		if err := errors.Join(d.EnsureDisk(ctx, m.UUID, m.Disks[0]), d.EnsureSeed(ctx, m.UUID, s),
			d.Define(ctx, m), d.Start(ctx, m.UUID)); err != nil {
			b.Fatal(err)
		}
	}
}

// TestOwnAddresses: the simulated node refuses what a real one refuses.
func TestOwnAddresses(t *testing.T) {
	t.Parallel()
	d := open(t, sim.Config{Own: []netip.Prefix{netip.MustParsePrefix("192.0.2.10/24")}})
	for _, tt := range []struct {
		gateway, guest string
		want           error
	}{
		{"192.0.2.1/24", "192.0.2.20", hyper.ErrNodeNetwork},
		{"198.51.100.1/24", "192.0.2.10", hyper.ErrNodeAddress},
		{"198.51.100.1/24", "198.51.100.7", nil},
	} {
		err := d.EnsureNetwork(context.Background(), hyper.Network{
			Name: "br0", Addresses: []netip.Prefix{netip.MustParsePrefix(tt.gateway)}, Guests: []netip.Addr{netip.MustParseAddr(tt.guest)},
		})
		if !errors.Is(err, tt.want) {
			t.Errorf("%s by %s: %v, want %v", tt.guest, tt.gateway, err, tt.want)
		}
	}
}

// TestTornLog: a record that a full disk cut off never happened, the record that was written behind it counts, and a
// damaged one is left out: the simulated node starts, and says so.
func TestTornLog(t *testing.T) {
	t.Parallel()
	dir, ctx := t.TempDir(), context.Background()
	first := open(t, sim.Config{Dir: dir})
	one, two, three := hypertest.Machine(t, first), hypertest.Machine(t, first), hypertest.Machine(t, first)
	for _, m := range []hyper.Machine{one, two, three} {
		if err := first.Define(ctx, m); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(dir, "machines.log")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(strings.TrimSuffix(string(text), "\n"), "\n")
	last := strings.TrimSuffix(lines[len(lines)-1], "\n") // defines the third machine
	half := last[:len(last)/2]
	for name, tt := range map[string]struct {
		text    string
		defined bool // the third machine
		said    bool
	}{
		"half a line at the end":             {strings.Join(lines[:len(lines)-1], "") + half, false, false},
		"half a line and a record behind it": {strings.Join(lines[:len(lines)-1], "") + half + last + "\n", true, false},
		"a damaged record":                   {strings.Join(lines[:len(lines)-1], "") + "machines\n" + last + "\n", true, true},
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.WriteFile(path, []byte(tt.text), 0o600); err != nil {
				t.Fatal(err)
			}
			var said strings.Builder
			d, err := sim.Open(sim.Config{StackID: stack, Dir: dir, Log: slog.New(slog.NewTextHandler(&said, nil))})
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			for _, m := range []hyper.Machine{one, two, three} {
				st, err := d.State(ctx, m.UUID)
				if want := m.UUID != three.UUID || tt.defined; err != nil || (st.Power == hyper.Off) != want {
					t.Errorf("machine %s is %s, %v", m.UUID, st.Power, err)
				}
			}
			if strings.Contains(said.String(), "left out") != tt.said {
				t.Errorf("log %q", said.String())
			}
		})
	}
}
