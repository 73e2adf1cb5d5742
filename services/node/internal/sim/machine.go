package sim

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/google/uuid"

	"slipway.dev/services/node/internal/hyper"
	"slipway.dev/services/node/internal/seed"
)

const maxConsole = 64 << 10

// EnsureSeed renders the seed, to refuse whatever a real driver refuses, and stores the source of the seed.
func (d *Driver) EnsureSeed(ctx context.Context, id uuid.UUID, s hyper.Seed) error {
	if _, err := seed.Render(s); err != nil {
		return err
	}
	return d.change(ctx, "EnsureSeed", id, func(m *machine) error {
		m.Seed = &s
		return nil
	})
}

// Define records a definition.
func (d *Driver) Define(ctx context.Context, def hyper.Machine) error {
	if err := def.Check(); err != nil {
		return err
	}
	return d.change(ctx, "Define", def.UUID, func(m *machine) error {
		if err := d.ours(m); err != nil {
			return err
		}
		if err := m.present(def); err != nil {
			return err
		}
		def.Meta.StackID, def.Meta.NodeID = d.cfg.StackID, d.cfg.NodeID
		m.Def = &def
		if m.Running != nil { // all but the cards' rules waits for the next start
			running := *m.Running
			running.NICs = def.NICs
			m.Running = &running
		}
		if m.Power == hyper.Absent {
			d.enterState(m, hyper.Off, "defined")
		}
		return nil
	})
}

// Adapt gives a running machine the limits and the disks of its definition, and with live more CPUs and memory, as far as there
// is room.
func (d *Driver) Adapt(ctx context.Context, id uuid.UUID, live bool) (r hyper.Resources, err error) {
	err = d.change(ctx, "Adapt", id, func(m *machine) error {
		if m.Def == nil {
			return hyper.ErrNotDefined
		}
		if err := d.ours(m); err != nil || m.Running == nil {
			return err
		}
		running := *m.Running
		running.NICs, running.Throttle, running.CPU.Weight = m.Def.NICs, m.Def.Throttle, m.Def.CPU.Weight
		running.Disks = m.Def.Disks
		r = hyper.Resources{CPUs: running.CPUs, MemoryMiB: running.MemoryMiB}
		if live {
			r = hyper.Grown(r, hyper.Resources{CPUs: m.Def.CPUs, MemoryMiB: m.Def.MemoryMiB}, m.Most)
		}
		running.CPUs, running.MemoryMiB = r.CPUs, r.MemoryMiB
		for _, k := range running.Disks {
			r.Disks = append(r.Disks, k.Name)
		}
		slices.Sort(r.Disks)
		m.Running = &running
		return nil
	})
	return r, err
}

// Ran returns with what a machine runs, nil if it does not. For tests.
func (d *Driver) Ran(id uuid.UUID) *hyper.Machine {
	d.mu.Lock()
	defer d.mu.Unlock()
	if m := d.machines[id]; m != nil && m.Running != nil {
		running := *m.Running
		return &running
	}
	return nil
}

// present returns ErrNoDisk if a disk, the CD or the seed of a definition is missing.
func (m *machine) present(def hyper.Machine) error {
	for _, disk := range def.Disks {
		if _, there := m.Disks[disk.Name]; !there {
			return hyper.ErrNoDisk.With("disk %s is not there", disk.Name)
		}
	}
	if _, there := m.Disks[def.CD]; def.CD != "" && !there {
		return hyper.ErrNoDisk.With("CD %s is not there", def.CD)
	}
	if def.Seed && m.Seed == nil {
		return hyper.ErrNoDisk.With("the seed is not there")
	}
	return nil
}

// Start runs the machine and, if it has a seed, writes the output of the small guest to its console.
func (d *Driver) Start(ctx context.Context, id uuid.UUID) error {
	return d.change(ctx, "Start", id, func(m *machine) error {
		if m.Def == nil {
			return hyper.ErrNotDefined
		}
		if err := d.ours(m); err != nil || m.Power == hyper.Running || m.Power == hyper.Paused {
			return err
		}
		if err := m.present(*m.Def); err != nil {
			return err
		}
		for _, n := range m.Def.NICs {
			if _, there := d.networks[n.Network]; !there {
				return hyper.ErrNoNetwork.With("bridge %s is not there", n.Network)
			}
		}
		def := *m.Def
		m.Running, m.Most = &def, def.Most()
		d.enterState(m, hyper.Running, "booted")
		m.Console += greeting(m.Seed)
		m.Login = ""
		if m.Seed != nil {
			m.Login = m.Seed.PasswordHash
		}
		if len(m.Console) > maxConsole {
			m.Console = m.Console[len(m.Console)-maxConsole/2:]
		}
		return nil
	})
}

func greeting(s *hyper.Seed) string {
	if s == nil {
		return "slipway-guest no seed\n"
	}
	ip := "-"
	if len(s.Links) > 0 && len(s.Links[0].Addresses) > 0 {
		ip = s.Links[0].Addresses[0].Addr().String()
	}
	return fmt.Sprintf("slipway-guest ready %s %s\n", s.Hostname, ip)
}

// Shutdown stops at once: the simulated guest always obeys.
func (d *Driver) Shutdown(ctx context.Context, id uuid.UUID) error {
	return d.change(ctx, "Shutdown", id, func(m *machine) error {
		if m.Def == nil {
			return hyper.ErrNotDefined
		}
		return d.stop(m, "shutdown")
	})
}

// PowerOff stops.
func (d *Driver) PowerOff(ctx context.Context, id uuid.UUID) error {
	return d.change(ctx, "PowerOff", id, func(m *machine) error { return d.stop(m, "destroyed") })
}

func (d *Driver) stop(m *machine, reason string) error {
	if err := d.ours(m); err != nil {
		return err
	}
	if m.Power == hyper.Running || m.Power == hyper.Paused {
		m.Running = nil
		d.enterState(m, hyper.Off, reason)
	}
	return nil
}

// Remove removes the machine.
func (d *Driver) Remove(ctx context.Context, id uuid.UUID) error {
	return d.change(ctx, "Remove", id, func(m *machine) error {
		if err := d.ours(m); err != nil {
			return err
		}
		*m = machine{UUID: id}
		return nil
	})
}

// Crash makes a running machine crash, for tests and demonstrations.
func (d *Driver) Crash(id uuid.UUID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if m := d.machines[id]; m != nil && m.Power == hyper.Running {
		m.Running = nil
		d.enterState(m, hyper.Crashed, "crashed")
		d.hangUp(m)
		_ = d.save(m)
	}
}

// Lose deletes a disk of a machine as the loss of its file does, for tests.
func (d *Driver) Lose(id uuid.UUID, disk string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if m := d.machines[id]; m != nil {
		delete(m.Disks, disk)
		_ = d.save(m)
	}
}

// Allowed lists the addresses that a running machine is limited to. For tests.
func (d *Driver) Allowed(id uuid.UUID) (list []netip.Addr) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if m := d.machines[id]; m != nil && m.Running != nil {
		for _, n := range m.Running.NICs {
			if n.AntiSpoofing {
				list = append(list, n.Addresses...)
			}
		}
	}
	return list
}

// ours returns ErrForeign if the definition is of another stack, so that it must not be changed.
func (d *Driver) ours(m *machine) error {
	if m.Def != nil && m.Def.Meta.StackID != d.cfg.StackID {
		return hyper.ErrForeign
	}
	return nil
}

func (d *Driver) enterState(m *machine, p hyper.Power, reason string) {
	m.Power, m.Reason, m.Since = p, reason, d.cfg.Now().UTC()
}

// State returns the state of the machine.
func (d *Driver) State(ctx context.Context, id uuid.UUID) (hyper.State, error) {
	if err := d.enter(ctx, "State", id); err != nil {
		return hyper.State{}, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	m := d.machines[id]
	if m == nil || m.Def == nil {
		return hyper.State{}, nil
	}
	return hyper.State{Power: m.Power, Reason: m.Reason}, nil
}

// List returns our machines by uuid.
func (d *Driver) List(ctx context.Context) ([]hyper.Observed, error) {
	if err := d.enter(ctx, "List", uuid.Nil); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	out := make([]hyper.Observed, 0, len(d.machines))
	for id, m := range d.machines {
		if m.Def == nil || d.ours(m) != nil {
			continue
		}
		out = append(out, hyper.Observed{
			UUID: id, Name: hyper.DomainName(d.cfg.StackID, m.Def.Meta.HostID, id),
			State: hyper.State{Power: m.Power, Reason: m.Reason}, Meta: m.Def.Meta, Since: m.Since,
		})
	}
	slices.SortFunc(out, func(a, b hyper.Observed) int { return strings.Compare(a.UUID.String(), b.UUID.String()) })
	return out, nil
}

// Addresses returns the addresses in the seed of a machine, and those of its cards.
func (d *Driver) Addresses(ctx context.Context, id uuid.UUID) ([]netip.Addr, error) {
	if err := d.enter(ctx, "Addresses", id); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	m := d.machines[id]
	if m == nil {
		return nil, nil
	}
	var list []netip.Addr
	if m.Seed != nil {
		for _, l := range m.Seed.Links {
			for _, a := range l.Addresses {
				list = append(list, a.Addr())
			}
		}
	}
	for _, def := range []*hyper.Machine{m.Def, m.Running} {
		if def == nil {
			continue
		}
		for _, n := range def.NICs {
			list = append(list, n.Addresses...)
		}
	}
	return list, nil
}

// Console returns the output of the simulated guest.
func (d *Driver) Console(ctx context.Context, id uuid.UUID, maxBytes int) ([]byte, error) {
	if err := d.enter(ctx, "Console", id); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	m := d.machines[id]
	if m == nil || maxBytes <= 0 {
		return nil, nil
	}
	return []byte(m.Console[max(0, len(m.Console)-maxBytes):]), nil
}
