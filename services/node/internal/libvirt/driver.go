//go:build libvirt_dlopen

package libvirt

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	lv "libvirt.org/go/libvirt"

	"slipway.dev/services/node/internal/accel"
	"slipway.dev/services/node/internal/bridge"
	"slipway.dev/services/node/internal/facts"
	"slipway.dev/services/node/internal/hyper"
	"slipway.dev/services/node/internal/template"
)

// Driver runs machines through libvirt.
type Driver struct {
	cfg     Config
	conn    *conn
	files   *files
	bridges *bridge.Bridges // nil without networks
	accel   accel.Result
	kind    string // libvirt's domain type
	cache   string
	locks   locks

	asking sync.Mutex
	known  []string // features, once libvirt was asked

	stop  context.CancelFunc
	done  sync.WaitGroup
	close func() error // once
}

var _ hyper.Driver = (*Driver)(nil)

// Open connects, and starts the janitor that bounds consoles; both end with Close.
func Open(ctx context.Context, cfg Config) (_ *Driver, err error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(cfg.Root, 0o711); err != nil {
		return nil, fmt.Errorf("make root: %w", err)
	}
	if err := os.Chmod(cfg.Root, 0o711); err != nil { // the hypervisor's user passes through
		return nil, err
	}
	if err := cfg.claim(); err != nil {
		return nil, err
	}
	if cfg.Templates == nil {
		if cfg.Templates, err = template.Open(cfg.Root); err != nil {
			return nil, err
		}
	}
	uri, err := cfg.chooseURI()
	if err != nil {
		return nil, err
	}
	d := &Driver{cfg: cfg}
	if err := d.prepare(ctx, uri); err != nil {
		return nil, err
	}
	if err := d.connect(ctx, uri); err != nil {
		return nil, errors.Join(err, d.files.close())
	}
	if err := d.loadCards(ctx); err != nil {
		d.cfg.Log.Warn("set up the networks", "err", err)
	}
	var background context.Context
	background, d.stop = context.WithCancel(context.WithoutCancel(ctx))
	d.done.Go(func() { d.janitor(background) })
	d.close = sync.OnceValue(d.letGo)
	return d, nil
}

func (d *Driver) connect(ctx context.Context, uri string) (err error) {
	if embedded(uri) {
		if err := awaitPredecessor(ctx, d.cfg.libvirtDir()); err != nil {
			return err
		}
	}
	if d.conn, err = dial(uri); err != nil || !embedded(uri) {
		return err
	}
	if err := d.conn.settle(ctx); err != nil {
		return errors.Join(err, d.conn.close())
	}
	return nil
}

// prepare does everything before the connection.
func (d *Driver) prepare(ctx context.Context, uri string) error {
	d.kind, d.accel = "test", accel.Result{Accel: hyper.AccelSim, Reason: "libvirt's test driver executes nothing"}
	o := owner{uid: os.Geteuid(), gid: os.Getegid()}
	if uri != uriTest {
		qemu, err := accel.Find()
		if err != nil {
			return err
		}
		if d.accel, err = accel.Choose(ctx, d.cfg.Accel, qemu, d.cfg.Root); err != nil {
			return err
		}
		if d.kind = "qemu"; d.accel.Accel == hyper.AccelKVM {
			d.kind = "kvm"
		}
		var warning string
		if o, warning, err = d.cfg.findOwner(ctx); err != nil {
			return err
		}
		if warning != "" && !embedded(uri) {
			return hyper.ErrNotAllowed.With("qemu cannot reach %s: %s", d.cfg.Root, warning)
		}
		if warning != "" {
			d.cfg.Log.Warn("qemu runs as root: put the directory where its own user can reach it", "reason", warning)
		}
	}
	if uri != uriTest {
		if err := errors.Join(os.MkdirAll(d.cfg.libvirtDir(), 0o711), d.cfg.link()); err != nil {
			return fmt.Errorf("short name for %s: %w", d.cfg.Root, err)
		}
	}
	if embedded(uri) {
		if err := writeConf(d.cfg.libvirtDir(), o); err != nil {
			return fmt.Errorf("configure libvirt: %w", err)
		}
		if err := errors.Join(o.shareKVM(), adopt()); err != nil {
			d.cfg.Log.Warn("an embedded libvirt will be slow", "err", err)
		}
	}
	var err error
	if !d.cfg.NoNetworks {
		if err := bridge.Allowed(); err != nil {
			return err
		}
		if d.bridges, err = bridge.Open(d.cfg.Root, d.cfg.StackID); err != nil {
			return err
		}
		for _, err := range d.bridges.Damaged() {
			d.cfg.Log.Error("a record of a network is damaged and left out", "err", err)
		}
	}
	if d.files, err = openFiles(d.cfg, o); err != nil {
		return err
	}
	if d.cache = "writeback"; d.files.direct() {
		d.cache = "none"
	}
	return nil
}

// Close closes the connection. Machines keep running; our bridges without ports are removed.
func (d *Driver) Close() error { return d.close() }

func (d *Driver) letGo() error {
	var err error
	if d.bridges != nil {
		err = d.bridges.Close()
	}
	err = errors.Join(err, d.conn.close())
	d.stop()
	d.done.Wait()
	return errors.Join(err, d.files.close(), d.cfg.unlink())
}

// janitor keeps consoles bounded: a guest writes a few MiB in a second at most.
func (d *Driver) janitor(ctx context.Context) {
	tick := time.NewTicker(5 * time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if err := d.files.trim(); err != nil {
				d.cfg.Log.Warn("trim consoles", "err", err)
			}
		}
	}
}

// Facts describes the node.
func (d *Driver) Facts(ctx context.Context) (hyper.Facts, error) {
	f, err := facts.Read(d.cfg.Root)
	if err != nil {
		return f, fmt.Errorf("read facts: %w", err)
	}
	f.Accel, f.AccelReason = d.accel.Accel, d.accel.Reason
	return f, d.conn.do(ctx, func(c *lv.Connect) error {
		kind, err := c.GetType()
		if err != nil {
			return fmt.Errorf("hypervisor type: %w", err)
		}
		hv, err := c.GetVersion()
		if err != nil {
			return fmt.Errorf("hypervisor version: %w", err)
		}
		lib, err := c.GetLibVersion()
		if err != nil {
			return fmt.Errorf("libvirt version: %w", err)
		}
		f.Hypervisor, f.HypervisorVer, f.Libvirt = strings.ToLower(kind), version(hv), version(lib)
		if f.Hypervisor == "qemu" {
			f.QEMU = f.HypervisorVer
		}
		f.Features, err = d.features(c)
		return err
	})
}

// features returns what the node can give machines or limit.
func (d *Driver) features(c *lv.Connect) ([]string, error) {
	if d.kind == "test" {
		return []string{hyper.FeatureDisks, hyper.FeatureThrottle}, nil
	}
	d.asking.Lock()
	defer d.asking.Unlock()
	if d.known != nil {
		return d.known, nil
	}
	list := append([]string{hyper.FeatureDisks, hyper.FeatureGrowth, hyper.FeatureThrottle}, groupFeatures()...)
	if d.kind == "kvm" && nests() {
		list = append(list, hyper.FeatureNesting)
	}
	if d.bridges != nil {
		list = append(list, hyper.FeatureFirewall, hyper.FeatureBandwidth)
	}
	caps, err := c.GetDomainCapabilities("", "x86_64", "q35", d.kind, 0)
	if err != nil {
		return nil, fmt.Errorf("read capabilities: %w", err)
	}
	modes, err := cpuFeatures(caps)
	if err != nil {
		return nil, err
	}
	d.known = append(list, modes...)
	return d.known, nil
}

func version(v uint32) string { return fmt.Sprintf("%d.%d.%d", v/1_000_000, v/1000%1000, v%1000) }

// EnsureNetwork makes the bridge.
func (d *Driver) EnsureNetwork(ctx context.Context, n hyper.Network) error {
	if err := errors.Join(ctx.Err(), n.Check()); err != nil || d.bridges == nil {
		return err
	}
	return d.bridges.Ensure(n)
}

// RemoveNetwork removes the bridge.
func (d *Driver) RemoveNetwork(ctx context.Context, name string) error {
	if err := ctx.Err(); err != nil || d.bridges == nil {
		return err
	}
	return d.bridges.Remove(name)
}

// locks serialize the calls for one machine.
type locks struct {
	mu   sync.Mutex
	held map[uuid.UUID]chan struct{}
}

// lock locks the machine and returns the function that unlocks it.
func (l *locks) lock(ctx context.Context, id uuid.UUID) (func(), error) {
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		unlock, wait := l.take(id)
		if unlock != nil {
			return unlock, nil
		}
		select {
		case <-wait:
		case <-ctx.Done():
		}
	}
}

// try locks the machine unless it is locked.
func (l *locks) try(id uuid.UUID) (unlock func(), ok bool) {
	unlock, _ = l.take(id)
	return unlock, unlock != nil
}

// take locks the machine, or returns a channel that is closed when the machine is unlocked.
func (l *locks) take(id uuid.UUID) (unlock func(), wait <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if wait, taken := l.held[id]; taken {
		return nil, wait
	}
	if l.held == nil {
		l.held = map[uuid.UUID]chan struct{}{}
	}
	mine := make(chan struct{})
	l.held[id] = mine
	return func() {
		l.mu.Lock()
		delete(l.held, id)
		l.mu.Unlock()
		close(mine)
	}, nil
}
