// Package sim is a simulated hypervisor in memory, on which no guest boots. It is for load, for tests and for trying the whole
// panel on a laptop. With a directory, machines outlive the agent, as real ones do.
package sim

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/google/uuid"

	"slipway.dev/services/node/internal/hyper"
)

// Config of a simulated node. Only the ids are required.
type Config struct {
	StackID string
	NodeID  string
	Dir     string // machines are kept here, in one log; empty keeps them in memory
	// Latency of a call, by the name of the method.
	Latency func(op string) time.Duration
	// Hook runs before a call and may fail it or block it; After runs when the work is done and may claim that it
	// failed. Networks pass uuid.Nil.
	Hook  func(ctx context.Context, op string, machine uuid.UUID) error
	After func(ctx context.Context, op string, machine uuid.UUID) error
	// HasTemplate says which templates are installed; nil means all.
	HasTemplate func(sha256 string) bool
	// Own are the addresses of the simulated node on its own links.
	Own []netip.Prefix
	// Size of the node; zeros give 64 CPUs, 256 GiB, 8 TiB.
	CPUs       int
	MemoryMiB  int64
	StorageMiB int64
	Now        func() time.Time
	Log        *slog.Logger
}

// machine is the state of one machine, and the content of its file.
type machine struct {
	UUID    uuid.UUID             `json:"uuid"`
	Disks   map[string]hyper.Disk `json:"disks,omitempty"`
	Seed    *hyper.Seed           `json:"seed,omitempty"`
	Def     *hyper.Machine        `json:"def,omitempty"`
	Running *hyper.Machine        `json:"running,omitempty"` // the definition it was started with
	Most    hyper.Resources       `json:"most,omitzero"`     // that it can have until its next start
	Power   hyper.Power           `json:"power"`
	Reason  string                `json:"reason,omitempty"`
	Since   time.Time             `json:"since,omitzero"`
	Console string                `json:"console,omitempty"`
	Login   string                `json:"login,omitempty"` // the hash of root's password in the guest
}

// Driver is a simulated node.
type Driver struct {
	cfg Config

	mu       sync.Mutex
	machines map[uuid.UUID]*machine
	networks map[string]hyper.Network
	cards    hyper.Cards
	log      *os.File // nil: nothing is kept
	size     int64    // of the log, up to its last whole line
	closed   bool
	mute     map[uuid.UUID]bool // guests without an agent
	consoles map[uuid.UUID]*consoles
}

var _ hyper.Driver = (*Driver)(nil)

// Open finds the machines that an earlier driver left in the directory.
func Open(cfg Config) (*Driver, error) {
	if cfg.StackID == "" {
		return nil, errors.New("sim: a stack id is required")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	cfg.CPUs, cfg.MemoryMiB, cfg.StorageMiB = orElse(cfg.CPUs, 64), orElse(cfg.MemoryMiB, 256<<10), orElse(cfg.StorageMiB, 8<<20)
	d := &Driver{cfg: cfg, machines: map[uuid.UUID]*machine{}, networks: map[string]hyper.Network{}}
	if cfg.Dir == "" {
		return d, nil
	}
	return d, d.load()
}

func orElse[T comparable](v, other T) T {
	var zero T
	if v == zero {
		return other
	}
	return v
}

// enter begins every call: it returns an error if the driver is closed, the call canceled or a hook fails, and waits for the
// latency. The lock is not held meanwhile.
func (d *Driver) enter(ctx context.Context, op string, id uuid.UUID) error {
	if d.cfg.Latency != nil {
		if wait := d.cfg.Latency(op); wait > 0 {
			t := time.NewTimer(wait)
			defer t.Stop()
			select {
			case <-t.C:
			case <-ctx.Done():
			}
		}
	}
	if d.cfg.Hook != nil {
		if err := d.cfg.Hook(ctx, op, id); err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return hyper.ErrUnavailable.With("the driver is closed")
	}
	return nil
}

// change runs fn on the machine under the lock and stores the result. An unknown machine is empty, and a machine that fn leaves
// empty is removed.
func (d *Driver) change(ctx context.Context, op string, id uuid.UUID, fn func(*machine) error) error {
	if err := d.enter(ctx, op, id); err != nil {
		return err
	}
	d.mu.Lock()
	err := d.changeLocked(id, fn)
	d.mu.Unlock()
	if err == nil && d.cfg.After != nil {
		err = d.cfg.After(ctx, op, id)
	}
	return err
}

// changeLocked runs fn on a copy of the machine: a change that cannot be kept does not count.
func (d *Driver) changeLocked(id uuid.UUID, fn func(*machine) error) error {
	m := d.copyOf(id)
	if err := fn(m); err != nil {
		return err
	}
	return d.keepAll(m)
}

// copyOf returns a copy of a machine, an empty one of an unknown machine.
func (d *Driver) copyOf(id uuid.UUID) *machine {
	m := &machine{UUID: id, Disks: map[string]hyper.Disk{}}
	if old, known := d.machines[id]; known {
		*m = *old
		m.Disks = maps.Clone(old.Disks)
	}
	return m
}

// empty reports whether nothing is left of a machine.
func (m *machine) empty() bool { return m.Def == nil && m.Seed == nil && len(m.Disks) == 0 }

// keepAll stores machines in place of what they were, all at once. An empty one is removed.
func (d *Driver) keepAll(list ...*machine) error {
	var records []record
	for _, m := range list {
		r := record{Machine: m}
		if m.empty() {
			r = record{Gone: &m.UUID}
		}
		records = append(records, r)
	}
	if err := d.keep(records...); err != nil {
		return err
	}
	for _, m := range list {
		if d.machines[m.UUID] = m; m.empty() {
			delete(d.machines, m.UUID)
		}
		if err := d.follow(m); err != nil {
			return err
		}
	}
	return nil
}

// Close closes the driver; the machines stay.
func (d *Driver) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil
	}
	d.closed = true
	for _, c := range d.consoles {
		for far := range c.open {
			_ = far.Close()
		}
	}
	if d.log != nil {
		defer d.log.Close()
	}
	for name := range d.networks {
		if len(d.plugged(name)) == 0 {
			delete(d.networks, name)
		}
	}
	return d.saveNetworks()
}

// Reload reads the directory again, for tests in which another driver changed it.
func (d *Driver) Reload() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.load()
}
