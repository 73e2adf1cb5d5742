//go:build libvirt_dlopen && e2e

package libvirt_test

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/uuid"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"slipway.dev/services/node/internal/hyper"
	"slipway.dev/services/node/internal/hypertest"
	"slipway.dev/services/node/internal/image"
	"slipway.dev/services/node/internal/libvirt"
	"slipway.dev/services/node/internal/template"
)

// root makes a directory whose name is short enough for an embedded libvirt.
func root(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/var/tmp", "slw")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func config(dir, stack string) libvirt.Config {
	return libvirt.Config{
		Root: dir, StackID: stack, Accel: "tcg", MakeUser: true, URI: "qemu:///embed?root=" + dir + "/libvirt",
		Log: slog.New(slog.NewTextHandler(os.Stderr, nil)),
	}
}

// TestEmbedded is the suite on real qemu. Nothing boots: the disks are empty.
func TestEmbedded(t *testing.T) {
	if os.Getuid() != 0 {
		t.Fatal("this test makes taps and bridges: run it as root")
	}
	dir, stack := root(t), uuid.NewString()
	sum, err := installTemplate(t, dir)
	if err != nil {
		t.Fatal(err)
	}
	d := open(t, with(config(dir, stack), nil))
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	name := func(id uuid.UUID) string {
		list, err := d.List(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(list, func(o hyper.Observed) bool { return o.UUID == id })
		return list[i].Name
	}
	hypertest.Run(t, func(*testing.T) hyper.Driver { return d }, hypertest.Options{
		StackID: stack, Traces: traces(dir), Lose: lose(dir), Template: sum, TemplateMiB: 8, Growth: true, Plugs: true, Boots: true, Consoles: true, Dir: func(*testing.T) string { return dir },
		Network: func(*testing.T) hyper.Network {
			p := netip.MustParsePrefix("100.127.13.1/24")
			return hyper.Network{Name: hyper.BridgeName(stack, 1), Addresses: []netip.Prefix{p}, NAT: []netip.Prefix{p.Masked()}}
		},
		Allowed: func(t *testing.T, _ hyper.Driver, id uuid.UUID) []netip.Addr {
			return allowed(t, hyper.NFTable(stack), hyper.TapName(stack, id, 0))
		},
		Limits: func(t *testing.T, _ hyper.Driver, id uuid.UUID) hypertest.Limited {
			return limited(t, hyper.NFTable(stack), hyper.TapName(stack, id, 0))
		},
		Bridge: func(t *testing.T, _ hyper.Driver, name string) (list []netip.Prefix) {
			i, err := net.InterfaceByName(name)
			if err != nil {
				t.Fatal(err)
			}
			addrs, err := i.Addrs()
			if err != nil {
				t.Fatal(err)
			}
			for _, a := range addrs {
				if p := netip.MustParsePrefix(a.String()); !p.Addr().IsLinkLocalUnicast() {
					list = append(list, p)
				}
			}
			return list
		},
		Steal: func(t *testing.T, bridge string) {
			if out, err := exec.Command("ip", "link", "delete", bridge).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			c, err := nftables.New()
			if err != nil {
				t.Fatal(err)
			}
			for _, family := range []nftables.TableFamily{nftables.TableFamilyINet, nftables.TableFamilyBridge} {
				c.DelTable(&nftables.Table{Family: family, Name: hyper.NFTable(stack)})
			}
			if err := c.Flush(); err != nil {
				t.Fatal(err)
			}
		},
		Crash: func(t *testing.T, _ hyper.Driver, id uuid.UUID) {
			if err := syscall.Kill(qemuPID(t, dir, name(id)), syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
		},
		Reopen: func(t *testing.T, _ hyper.Driver) hyper.Driver {
			if err := d.Close(); err != nil {
				t.Fatal(err)
			}
			d = open(t, config(dir, stack))
			return d
		},
	})
	t.Run("Signals", func(t *testing.T) { signals(t, d) }) // a process has one embedded libvirt
	t.Run("Floor", func(t *testing.T) { floor(t, d) })
	t.Run("SideBySide", func(t *testing.T) { sideBySide(t, d) })
}

// limited reads from the kernel how a tap is limited.
func limited(t *testing.T, table, tap string) (l hypertest.Limited) {
	t.Helper()
	link, err := netlink.LinkByName(tap)
	if err != nil {
		t.Fatal(err)
	}
	queues, err := netlink.QdiscList(link)
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range queues {
		if tbf, ok := q.(*netlink.Tbf); ok {
			l.InMbit = int(tbf.Rate * 8 / 1_000_000)
		}
	}
	c, err := nftables.New()
	if err != nil {
		t.Fatal(err)
	}
	tab := &nftables.Table{Family: nftables.TableFamilyBridge, Name: table}
	for _, chain := range []string{tap, tap + "-in"} {
		rules, err := c.GetRules(tab, &nftables.Chain{Table: tab, Name: chain})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range rules {
			if limit, ok := r.Exprs[0].(*expr.Limit); ok {
				l.OutMbit = int(limit.Rate * 8 / 1_000_000)
				continue
			}
			l.In, l.Out = l.In || chain != tap, l.Out || chain == tap
		}
	}
	return l
}

// allowed reads from the kernel which addresses a tap's rules compare with.
func allowed(t *testing.T, table, tap string) (list []netip.Addr) {
	t.Helper()
	c, err := nftables.New()
	if err != nil {
		t.Fatal(err)
	}
	tab := &nftables.Table{Family: nftables.TableFamilyBridge, Name: table}
	rules, err := c.GetRules(tab, &nftables.Chain{Table: tab, Name: tap})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rules {
		for _, e := range r.Exprs {
			if cmp, ok := e.(*expr.Cmp); ok {
				a, ok := netip.AddrFromSlice(cmp.Data)
				if ok && !a.IsUnspecified() && !a.IsLinkLocalUnicast() && !slices.Contains(list, a) {
					list = append(list, a)
				}
			}
		}
	}
	return list
}

func with(c libvirt.Config, change func(*libvirt.Config)) libvirt.Config {
	if change != nil {
		change(&c)
	}
	return c
}

func installTemplate(t *testing.T, dir string) (string, error) {
	t.Helper()
	src := filepath.Join(t.TempDir(), "t.qcow2")
	qemuImg, err := image.Lookup("qemu-img", "qemu-utils")
	if err != nil {
		return "", err
	}
	if out, err := exec.Command(qemuImg, "create", "-q", "-f", "qcow2", src, "8M").CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	b, err := os.ReadFile(src)
	if err != nil {
		return "", err
	}
	raw := sha256.Sum256(b)
	sum := hex.EncodeToString(raw[:])
	s, err := template.Open(dir)
	if err != nil {
		return "", err
	}
	_, err = s.Install(context.Background(), src, template.Spec{SHA256: sum, Format: image.QCOW2})
	return sum, err
}

func qemuPID(t *testing.T, dir, name string) int {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "libvirt/run/qemu", name+".pid"))
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

// floor measures what any control plane has to wait for.
func floor(t *testing.T, d hyper.Driver) {
	ctx := context.Background()
	var steps [4][]time.Duration
	for range 10 {
		m := hyper.Machine{UUID: uuid.New(), CPUs: 1, MemoryMiB: 128, Seed: true, Disks: []hyper.Disk{{Name: "root", SizeMiB: 1024}}}
		for i, do := range []func() error{
			func() error { return d.EnsureDisk(ctx, m.UUID, m.Disks[0]) },
			func() error { return d.EnsureSeed(ctx, m.UUID, hypertest.Seed()) },
			func() error { return d.Define(ctx, m) },
			func() error { return d.Start(ctx, m.UUID) },
		} {
			start := time.Now()
			if err := do(); err != nil {
				t.Fatal(err)
			}
			steps[i] = append(steps[i], time.Since(start))
		}
		if err := d.Remove(ctx, m.UUID); err != nil {
			t.Fatal(err)
		}
	}
	for i, name := range []string{"disk", "seed", "define", "start"} {
		slices.Sort(steps[i])
		t.Logf("%-7s median %v  max %v", name, steps[i][5].Round(100*time.Microsecond), steps[i][9].Round(100*time.Microsecond))
	}
}

// sideBySide: another stack in another process neither sees ours nor collides with it, with the same host id and all.
func sideBySide(t *testing.T, d hyper.Driver) {
	ctx := context.Background()
	m := hypertest.Machine(t, d)
	if err := errors.Join(d.Define(ctx, m), d.Start(ctx, m.UUID)); err != nil {
		t.Fatal(err)
	}
	dir := root(t)
	other := startChild(t, order{Root: dir, Stack: uuid.NewString(), Machine: uuid.New(), HostID: m.Meta.HostID})
	list, err := d.List(ctx)
	if err != nil || slices.ContainsFunc(list, func(o hyper.Observed) bool { return o.UUID == other.Machine }) {
		t.Errorf("listed %+v %v", list, err)
	}
	if st, err := d.State(ctx, m.UUID); err != nil || st.Power != hyper.Running {
		t.Errorf("ours is %v %v", st, err)
	}
	other.ask(t, "remove")
	other.ask(t, "close")
}

// TestSurvival: machines do not notice that the agent was killed, and the next agent finds them.
func TestSurvival(t *testing.T) {
	o := order{Root: root(t), Stack: uuid.NewString(), Machine: uuid.New(), HostID: 7, Network: true}
	first := startChild(t, o)
	pid := qemuPID(t, o.Root, hyper.DomainName(o.Stack, o.HostID, o.Machine))
	if err := first.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = first.cmd.Wait()
	for range 3 { // and again while it looks for them
		o.Find = true
		again := startChild(t, o)
		if got := qemuPID(t, o.Root, hyper.DomainName(o.Stack, o.HostID, o.Machine)); got != pid {
			t.Fatalf("qemu is %d, was %d", got, pid)
		}
		if err := again.cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = again.cmd.Wait()
	}
	last := startChild(t, o)
	if got := last.ask(t, "state"); got != "running 7" {
		t.Errorf("found %q", got)
	}
	last.ask(t, "close") // an orderly end keeps it running, and its bridge
	if err := syscall.Kill(pid, 0); err != nil {
		t.Errorf("closed, and the machine is gone: %v", err)
	}
	if _, err := net.InterfaceByName(hyper.BridgeName(o.Stack, 1)); err != nil {
		t.Errorf("closed, and the bridge in use is gone: %v", err)
	}
	last = startChild(t, o)
	last.ask(t, "remove")
	last.ask(t, "close")
	if err := syscall.Kill(pid, 0); err == nil {
		t.Error("removed, and qemu runs")
	}
	if _, err := net.InterfaceByName(hyper.BridgeName(o.Stack, 1)); err == nil {
		t.Error("closed, and an idle bridge is left")
	}
}

// TestKilledMeanwhile: a machine that died while no agent looked is not reported running.
func TestKilledMeanwhile(t *testing.T) {
	o := order{Root: root(t), Stack: uuid.NewString(), Machine: uuid.New(), HostID: 8}
	first := startChild(t, o)
	pid := qemuPID(t, o.Root, hyper.DomainName(o.Stack, o.HostID, o.Machine))
	if err := errors.Join(first.cmd.Process.Kill(), syscall.Kill(pid, syscall.SIGKILL)); err != nil {
		t.Fatal(err)
	}
	_ = first.cmd.Wait()
	o.Find = true
	next := startChild(t, o)
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) { // qemu may be dying still
		got := next.ask(t, "state")
		if got == "crashed 7" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("found %q", got)
		}
	}
	next.ask(t, "remove")
	next.ask(t, "close")
}

// order is what a child process is told.
type order struct {
	Root, Stack string
	Machine     uuid.UUID
	HostID      int32
	Network     bool
	Find        bool // the machine is there already
}

type child struct {
	order
	cmd *exec.Cmd
	in  io.Writer
	out *bufio.Scanner
}

// startChild runs this test binary as an agent of its own: a process can embed only one libvirt.
func startChild(t *testing.T, o order) *child {
	t.Helper()
	b, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	c := &child{order: o, cmd: exec.Command("/proc/self/exe")}
	c.cmd.Env = append(os.Environ(), childEnv+"="+string(b))
	c.cmd.Stderr = os.Stderr
	in, err := c.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	c.in, c.out = in, bufio.NewScanner(out)
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		_ = c.cmd.Wait()
	})
	if got := c.read(t); got != "ready" {
		t.Fatalf("child says %q", got)
	}
	return c
}

func (c *child) read(t *testing.T) string {
	t.Helper()
	if !c.out.Scan() {
		t.Fatalf("child is gone: %v", c.cmd.Wait())
	}
	return c.out.Text()
}

func (c *child) ask(t *testing.T, what string) string {
	t.Helper()
	if _, err := fmt.Fprintln(c.in, what); err != nil {
		t.Fatal(err)
	}
	return c.read(t)
}

// TestOneAgentPerRoot: a second agent is refused with a reason, and does no harm.
func TestOneAgentPerRoot(t *testing.T) {
	o := order{Root: root(t), Stack: uuid.NewString(), Machine: uuid.New(), HostID: 9}
	first := startChild(t, o)
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	_, err := libvirt.Open(ctx, config(o.Root, o.Stack))
	if want := fmt.Sprintf("process %d uses the same directory", first.cmd.Process.Pid); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%v, want %s", err, want)
	}
	if got := first.ask(t, "state"); got != "running 7" {
		t.Errorf("the first finds %q", got)
	}
	first.ask(t, "remove")
	first.ask(t, "close")
}

// signals: a machine starts while signals come to every thread of the agent, as Go's runtime sends them.
func signals(t *testing.T, d hyper.Driver) {
	m := hypertest.Machine(t, d)
	if err := d.Define(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			case <-time.After(50 * time.Microsecond):
			}
			threads, err := os.ReadDir("/proc/self/task")
			if err != nil {
				t.Error(err)
				return
			}
			for _, thread := range threads {
				if id, err := strconv.Atoi(thread.Name()); err == nil {
					_ = unix.Tgkill(os.Getpid(), id, unix.SIGURG)
				}
			}
		}
	}()
	for range 3 {
		if err := errors.Join(d.Start(t.Context(), m.UUID), d.PowerOff(t.Context(), m.UUID)); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	<-done
}
