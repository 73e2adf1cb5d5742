package sim

import (
	"context"
	"net/netip"

	"github.com/google/uuid"

	"slipway.dev/services/node/internal/hyper"
)

// GuestAddresses returns the addresses in the seed that the simulated guest was started with.
func (d *Driver) GuestAddresses(ctx context.Context, id uuid.UUID) (list []netip.Addr, err error) {
	if err := d.enter(ctx, "GuestAddresses", id); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	m := d.machines[id]
	if m == nil {
		return nil, hyper.ErrNoAgent
	}
	if err := d.ours(m); err != nil {
		return nil, err
	}
	if !d.answers(m) {
		return nil, hyper.ErrNoAgent
	}
	for _, l := range m.Seed.Links {
		for _, p := range l.Addresses {
			list = append(list, p.Addr())
		}
	}
	return list, nil
}

// SetGuestPassword gives the simulated guest another password.
func (d *Driver) SetGuestPassword(ctx context.Context, id uuid.UUID, hash string) error {
	if err := hyper.CheckHash(hash); err != nil {
		return err
	}
	return d.change(ctx, "SetGuestPassword", id, func(m *machine) error {
		if err := d.ours(m); err != nil {
			return err
		}
		if !d.answers(m) {
			return hyper.ErrNoAgent
		}
		m.Login = hash
		return nil
	})
}

// answers reports whether the guest of a machine runs, with an agent: a guest without a seed is none.
func (d *Driver) answers(m *machine) bool {
	return m.Power == hyper.Running && m.Seed != nil && !d.mute[m.UUID]
}

// Login returns the hash of root's password in a running guest. For tests.
func (d *Driver) Login(id uuid.UUID) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if m := d.machines[id]; m != nil && m.Running != nil {
		return m.Login
	}
	return ""
}

// Mute takes the agent out of a guest. For tests.
func (d *Driver) Mute(id uuid.UUID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.mute == nil {
		d.mute = map[uuid.UUID]bool{}
	}
	d.mute[id] = true
}
