package sim

import (
	"context"
	"fmt"
	"slices"

	"github.com/google/uuid"

	"slipway.dev/services/node/internal/hyper"
)

// features of a simulated node: all, with some models of CPUs.
var features = []string{
	hyper.FeatureDisks, hyper.FeatureGrowth, hyper.FeatureThrottle, hyper.FeatureBandwidth, hyper.FeatureFirewall, hyper.FeatureCPUWeight,
	hyper.FeatureIOWeight, hyper.FeatureNesting, hyper.FeatureMode + hyper.CPUPassthrough, hyper.FeatureMode + hyper.CPUHostModel,
	hyper.FeatureMode + hyper.CPUCustom, hyper.FeatureModel + "Nehalem", hyper.FeatureModel + "EPYC",
}

// Facts returns the facts of the simulated node. Free storage shrinks with the disks.
func (d *Driver) Facts(ctx context.Context) (hyper.Facts, error) {
	if err := d.enter(ctx, "Facts", uuid.Nil); err != nil {
		return hyper.Facts{}, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	free := d.cfg.StorageMiB
	for _, m := range d.machines {
		for _, disk := range m.Disks {
			free -= disk.SizeMiB
		}
	}
	return hyper.Facts{
		CPUs: d.cfg.CPUs, CPUModel: "simulated", MemoryMiB: d.cfg.MemoryMiB,
		StorageTotalMiB: d.cfg.StorageMiB, StorageFreeMiB: max(0, free),
		Hypervisor: "sim", HypervisorVer: "1", Kernel: "sim", OS: "Slipway simulator",
		Accel: hyper.AccelSim, AccelReason: "nothing is executed", BootID: "sim",
		Features: features,
	}, nil
}

// EnsureNetwork records a bridge.
func (d *Driver) EnsureNetwork(ctx context.Context, n hyper.Network) error {
	if err := n.Check(); err != nil {
		return err
	}
	if err := d.enter(ctx, "EnsureNetwork", uuid.Nil); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.free(n); err != nil {
		return err
	}
	_, known := d.networks[n.Name]
	if n = d.cards.Needs(n, d.networks[n.Name]); known && n.Equal(d.networks[n.Name]) {
		return nil
	}
	d.networks[n.Name] = n
	return d.saveNetworks()
}

// free returns a fault if the simulated node is in one of the networks, or has one of the guests' addresses.
func (d *Driver) free(n hyper.Network) error {
	for _, own := range d.cfg.Own {
		if i := slices.Index(n.Guests, own.Addr()); i >= 0 {
			return hyper.ErrNodeAddress.With("the node itself has the address %s", own.Addr()).On(fmt.Sprintf("guests[%d]", i))
		}
		for i, p := range n.Addresses {
			if own.Overlaps(p) {
				return hyper.ErrNodeNetwork.
					With("the network %s overlaps with %s, in which the node itself is", p.Masked(), own.Masked()).
					On(fmt.Sprintf("addresses[%d]", i))
			}
		}
	}
	return nil
}

// follow makes the networks have what the machines need, after a change of one.
func (d *Driver) follow(m *machine) error {
	d.hangUp(m)
	var cards []hyper.NIC
	switch {
	case m.Def != nil:
		cards = m.Def.NICs
	case !m.empty(): // it is on its way
		return nil
	}
	names := d.cards.Follow(m.UUID, cards, d.networks)
	if len(names) == 0 {
		return nil
	}
	for _, name := range names {
		d.networks[name] = d.cards.Needs(hyper.Network{Name: name}, d.networks[name])
	}
	return d.saveNetworks()
}

// RemoveNetwork removes a bridge without ports.
func (d *Driver) RemoveNetwork(ctx context.Context, name string) error {
	if err := d.enter(ctx, "RemoveNetwork", uuid.Nil); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if n := len(d.plugged(name)); n > 0 {
		return hyper.ErrNetworkInUse.With("%d machines are plugged into %s", n, name)
	}
	delete(d.networks, name)
	return d.saveNetworks()
}

// Repair finds nothing to put back: no other program changes a simulated network.
func (d *Driver) Repair(ctx context.Context) (hyper.Repairs, error) {
	return hyper.Repairs{}, d.enter(ctx, "Repair", uuid.Nil)
}

// plugged lists the machines whose running cards are on the bridge.
func (d *Driver) plugged(name string) []uuid.UUID {
	var out []uuid.UUID
	for id, m := range d.machines {
		if m.Running == nil {
			continue
		}
		for _, nic := range m.Running.NICs {
			if nic.Network == name {
				out = append(out, id)
				break
			}
		}
	}
	return out
}
