//go:build libvirt_dlopen

package libvirt

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/google/uuid"
	lv "libvirt.org/go/libvirt"

	"slipway.dev/pkg/crash"
	"slipway.dev/services/node/internal/hyper"
)

// Crash points inside of a command.
var (
	pointPlugged   = crash.At("node.libvirt.plugged")   // rules stand, the machine does not run yet
	pointUndefined = crash.At("node.libvirt.undefined") // its files are still there
)

// domain is a libvirt domain of ours.
type domain struct {
	*lv.Domain
	meta metadata
}

// with runs fn on the machine's domain, or on nil if there is none, under the machine's lock. It returns ErrForeign if the domain
// has no proof that it is ours; such a domain must not be changed.
func (d *Driver) with(ctx context.Context, id uuid.UUID, fn func(*lv.Connect, *domain) error) error {
	unlock, err := d.locks.lock(ctx, id)
	if err != nil {
		return err
	}
	defer unlock()
	return d.conn.do(ctx, func(c *lv.Connect) error { return d.on(c, id, func(dom *domain) error { return fn(c, dom) }) })
}

// on runs fn on the domain of a machine that is locked, or on nil if there is none. It returns ErrForeign as with does.
func (d *Driver) on(c *lv.Connect, id uuid.UUID, fn func(*domain) error) error {
	dom, err := c.LookupDomainByUUIDString(id.String())
	if is(err, lv.ERR_NO_DOMAIN) {
		return fn(nil)
	}
	if err != nil {
		return fmt.Errorf("find domain: %w", err)
	}
	defer dom.Free()
	meta, ours, err := d.proof(dom)
	if err != nil {
		return err
	}
	if !ours {
		return hyper.ErrForeign.With("domain %s is not of this stack", id)
	}
	return fn(&domain{dom, meta})
}

// proof reads our element from a domain. A missing element, or one of another stack, is no error; a failure to read it is.
func (d *Driver) proof(dom *lv.Domain) (metadata, bool, error) {
	s, err := dom.GetMetadata(lv.DOMAIN_METADATA_ELEMENT, metaNS, lv.DOMAIN_AFFECT_CONFIG)
	if is(err, lv.ERR_OPERATION_INVALID) || is(err, lv.ERR_INVALID_ARG) { // a transient domain: never of our making
		s, err = dom.GetMetadata(lv.DOMAIN_METADATA_ELEMENT, metaNS, lv.DOMAIN_AFFECT_CURRENT)
	}
	if is(err, lv.ERR_NO_DOMAIN_METADATA) {
		return metadata{}, false, nil
	}
	if err != nil {
		return metadata{}, false, fmt.Errorf("read metadata: %w", err)
	}
	m, err := decodeMetadata(s)
	return m, err == nil && m.Stack == d.cfg.StackID, err
}

// EnsureDisk makes or grows the disk, through the hypervisor if the machine runs.
func (d *Driver) EnsureDisk(ctx context.Context, id uuid.UUID, disk hyper.Disk) error {
	if err := disk.Check(); err != nil {
		return err
	}
	return d.with(ctx, id, func(_ *lv.Connect, dom *domain) error {
		grow, err := d.files.disk(ctx, id, disk)
		if err != nil || grow == 0 {
			return err
		}
		path := d.files.path(id, diskFile(disk.Name))
		active := false
		if dom != nil && d.kind != "test" {
			if active, err = dom.IsActive(); err != nil {
				return fmt.Errorf("domain state: %w", err)
			}
		}
		if !active {
			return d.files.tool.Resize(ctx, path, grow)
		}
		size := uint64(grow) // #nosec G115 -- disk returns no size below zero
		if err := dom.BlockResize(path, size, lv.DOMAIN_BLOCK_RESIZE_BYTES); err != nil {
			return fmt.Errorf("grow disk %s of a running machine: %w", disk.Name, err)
		}
		return nil
	})
}

// EnsureSeed writes the seed.
func (d *Driver) EnsureSeed(ctx context.Context, id uuid.UUID, s hyper.Seed) error {
	return d.with(ctx, id, func(*lv.Connect, *domain) error { return d.files.seed(id, s) })
}

// Define makes or changes the definition.
func (d *Driver) Define(ctx context.Context, m hyper.Machine) error {
	if err := m.Check(); err != nil {
		return err
	}
	m.Meta.StackID, m.Meta.NodeID = d.cfg.StackID, d.cfg.NodeID
	return d.with(ctx, m.UUID, func(c *lv.Connect, _ *domain) error {
		for _, disk := range m.Disks {
			if !d.files.has(m.UUID, diskFile(disk.Name)) {
				return hyper.ErrNoDisk.With("disk %s is not there", disk.Name)
			}
		}
		if m.CD != "" && !d.files.has(m.UUID, cdFile(m.CD)) {
			return hyper.ErrNoDisk.With("CD %s is not there", m.CD)
		}
		if m.Seed && !d.files.has(m.UUID, seedFile) {
			return hyper.ErrNoDisk.With("the seed is not there")
		}
		xml, err := render(m, host{
			kind: d.kind, cache: d.cache, dir: d.files.path(m.UUID, ""), base: d.cfg.Templates.Get, groups2: groups2(),
			agent: d.cfg.agentSocket(m.UUID, d.conn.uri), tty: d.cfg.socket(m.UUID, "serial"),
		})
		if err != nil {
			return fmt.Errorf("render domain: %w", err)
		}
		if err := d.files.make(m.UUID); err != nil {
			return err
		}
		dom, err := c.DomainDefineXMLFlags(xml, 0)
		if err != nil {
			return fmt.Errorf("define domain: %w", err)
		}
		defer dom.Free()
		if err := d.use(m.UUID, m.NICs); err != nil {
			return err
		}
		return d.guardAgain(dom, m.UUID, newMetadata(m))
	})
}

// use makes the bridges have what the machine's cards need.
func (d *Driver) use(id uuid.UUID, cards []hyper.NIC) error {
	if d.bridges == nil {
		return nil
	}
	return d.bridges.Use(id, cards)
}

// guardAgain gives the taps of a running machine the rules of its new definition.
func (d *Driver) guardAgain(dom *lv.Domain, id uuid.UUID, m metadata) error {
	if d.bridges == nil || len(m.Bridges) == 0 {
		return nil
	}
	active, err := dom.IsActive()
	if err != nil {
		return fmt.Errorf("domain state: %w", err)
	}
	if !active {
		return nil // at its next start
	}
	if err := d.guard(id, m); err != nil {
		return err
	}
	_, err = d.shape(id, m)
	return err
}

// Start powers a machine on, or resumes a paused one.
func (d *Driver) Start(ctx context.Context, id uuid.UUID) error {
	return d.with(ctx, id, func(_ *lv.Connect, dom *domain) error {
		if dom == nil {
			return hyper.ErrNotDefined
		}
		state, _, err := dom.GetState()
		if err != nil {
			return fmt.Errorf("domain state: %w", err)
		}
		switch state {
		case lv.DOMAIN_RUNNING, lv.DOMAIN_BLOCKED:
			_, err := d.shape(id, dom.meta) // an earlier call may have ended before
			return err
		case lv.DOMAIN_PAUSED:
			if err := dom.Resume(); err != nil {
				return fmt.Errorf("resume domain: %w", err)
			}
			return nil
		}
		if err := present(dom.Domain); err != nil {
			return err
		}
		if err := d.plug(id, dom.meta); err != nil {
			return err
		}
		pointPlugged.Hit()
		if err := d.files.console(id); err != nil {
			return fmt.Errorf("make console: %w", err)
		}
		if err := undisturbed(dom.Create); err != nil {
			return fmt.Errorf("start domain: %w", err)
		}
		_, err = d.shape(id, dom.meta)
		return err
	})
}

// plug makes the bridges and rules, which must exist before the taps.
func (d *Driver) plug(id uuid.UUID, m metadata) error {
	if d.bridges == nil {
		return nil
	}
	for _, b := range m.Bridges {
		if err := d.bridges.Check(b); err != nil {
			return err
		}
	}
	return d.guard(id, m)
}

// guard limits the machine's cards as its definition says, and removes the rules of the others.
func (d *Driver) guard(id uuid.UUID, m metadata) error {
	var free []string
	for i := range m.Bridges {
		tap := hyper.TapName(m.Stack, id, i)
		if !slices.ContainsFunc(m.Guards, func(g guard) bool { return g.Tap == tap }) {
			free = append(free, tap)
		}
	}
	if err := d.bridges.Unguard(free...); err != nil {
		return err
	}
	for _, g := range m.Guards {
		nic, err := g.nic()
		if err != nil {
			return fmt.Errorf("read guard: %w", err)
		}
		if err := d.bridges.Guard(g.Tap, nic); err != nil {
			return err
		}
	}
	return nil
}

// shape limits what the cards of a running machine receive, as its definition says, and returns how many had other limits. A
// tap has its limit only once it is there; what a guest sends is limited before it runs, by the guard.
func (d *Driver) shape(id uuid.UUID, m metadata) (changed int, err error) {
	if d.bridges == nil {
		return 0, nil
	}
	for i := range m.Bridges {
		tap, limit := hyper.TapName(m.Stack, id, i), 0
		if at := slices.IndexFunc(m.Guards, func(g guard) bool { return g.Tap == tap }); at >= 0 {
			limit = m.Guards[at].In
		}
		set, err := d.bridges.Shape(tap, limit)
		if err != nil {
			return changed, err
		}
		if set {
			changed++
		}
	}
	return changed, nil
}

// Shutdown asks the guest to stop.
func (d *Driver) Shutdown(ctx context.Context, id uuid.UUID) error {
	return d.with(ctx, id, func(_ *lv.Connect, dom *domain) error {
		if dom == nil {
			return hyper.ErrNotDefined
		}
		active, err := dom.IsActive()
		if err != nil || !active {
			return err
		}
		flags := lv.DOMAIN_SHUTDOWN_ACPI_POWER_BTN // a guest agent that hangs would hold the machine for a minute
		if d.kind == "test" {
			flags = 0
		}
		if err := dom.ShutdownFlags(flags); err != nil && !is(err, lv.ERR_OPERATION_INVALID) { // off meanwhile
			return fmt.Errorf("shut down domain: %w", err)
		}
		return nil
	})
}

// PowerOff powers the machine off at once.
func (d *Driver) PowerOff(ctx context.Context, id uuid.UUID) error {
	return d.with(ctx, id, func(_ *lv.Connect, dom *domain) error {
		if dom == nil {
			return nil
		}
		return destroy(dom)
	})
}

func destroy(dom *domain) error {
	err := dom.DestroyFlags(lv.DOMAIN_DESTROY_DEFAULT)
	if err != nil && !is(err, lv.ERR_OPERATION_INVALID) && !is(err, lv.ERR_NO_DOMAIN) { // off, or gone
		return fmt.Errorf("power off domain: %w", err)
	}
	return nil
}

// Remove deletes every trace, the definition before the files: files that a crash in between leaves have no definition, and the
// next Remove deletes them.
func (d *Driver) Remove(ctx context.Context, id uuid.UUID) error {
	return d.with(ctx, id, func(_ *lv.Connect, dom *domain) error {
		if dom != nil {
			if err := d.undefine(dom); err != nil {
				return err
			}
			pointUndefined.Hit()
		}
		if err := d.unguard(id); err != nil {
			return err
		}
		if err := d.use(id, nil); err != nil {
			return err
		}
		return d.files.remove(id)
	})
}

// unguard removes the rules of a machine's cards, whatever its definition says of them: an earlier Remove may have ended before
// it did.
func (d *Driver) unguard(id uuid.UUID) error {
	if d.bridges == nil {
		return nil
	}
	guarded, err := d.bridges.Guarded()
	if err != nil {
		return err
	}
	for i := range hyper.MaxNICs {
		if tap := hyper.TapName(d.cfg.StackID, id, i); slices.Contains(guarded, tap) {
			if err := d.bridges.Unguard(tap); err != nil {
				return err
			}
		}
	}
	return nil
}

func (d *Driver) undefine(dom *domain) error {
	if err := destroy(dom); err != nil {
		return err
	}
	name, err := dom.GetName()
	if err != nil {
		return fmt.Errorf("name of domain: %w", err)
	}
	flags := lv.DOMAIN_UNDEFINE_MANAGED_SAVE | lv.DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
	if d.kind != "test" {
		flags |= lv.DOMAIN_UNDEFINE_NVRAM | lv.DOMAIN_UNDEFINE_CHECKPOINTS_METADATA
	}
	if err := dom.UndefineFlags(flags); err != nil && !is(err, lv.ERR_NO_DOMAIN) {
		return fmt.Errorf("undefine domain: %w", err)
	}
	if embedded(d.conn.uri) {
		err := os.Remove(filepath.Join(d.cfg.libvirtDir(), "log", "qemu", name+".log"))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("delete log: %w", err)
		}
	}
	return nil
}

// Console returns the end of the log.
func (d *Driver) Console(ctx context.Context, id uuid.UUID, maxBytes int) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return d.files.tail(id, maxBytes)
}
