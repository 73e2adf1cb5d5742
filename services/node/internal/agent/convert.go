package agent

import (
	"net"
	"net/netip"

	"github.com/google/uuid"

	nodepb "slipway.dev/proto/node/v1"

	"slipway.dev/pkg/fault"
	"slipway.dev/services/node/internal/hyper"
)

// each parses every text of a field; the fault names the field and the text.
func each[T any](field string, texts []string, parse func(string) (T, error)) ([]T, error) {
	var list []T
	for _, t := range texts {
		v, err := parse(t)
		if err != nil {
			return nil, fault.Invalid.With("%.60q is not valid", t).On(field)
		}
		list = append(list, v)
	}
	return list, nil
}

func network(r *nodepb.EnsureNetworkRequest) (n hyper.Network, err error) {
	n.Name = r.GetName()
	if n.Addresses, err = each("addresses", r.GetAddresses(), netip.ParsePrefix); err != nil {
		return n, err
	}
	if n.NAT, err = each("nat", r.GetNat(), netip.ParsePrefix); err != nil {
		return n, err
	}
	n.Guests, err = each("guests", r.GetGuests(), netip.ParseAddr)
	return n, err
}

// texts returns the texts of prefixes.
func texts(list []netip.Prefix) (all []string) {
	for _, p := range list {
		all = append(all, p.String())
	}
	return all
}

// nodeSide returns what a guest needs of its bridge, nil if the caller does not say.
func nodeSide(l *nodepb.Link) (s *hyper.NodeSide, err error) {
	if l.GetNodeSide() == nil {
		return nil, nil
	}
	s = &hyper.NodeSide{}
	if s.Addresses, err = each("links.node_side.addresses", l.GetNodeSide().GetAddresses(), netip.ParsePrefix); err != nil {
		return nil, err
	}
	s.NAT, err = each("links.node_side.nat", l.GetNodeSide().GetNat(), netip.ParsePrefix)
	return s, err
}

func disk(d *nodepb.Disk) hyper.Disk {
	return hyper.Disk{Name: d.GetName(), SizeMiB: int64(d.GetSizeMib()), Template: d.GetTemplate(), Bus: d.GetBus()}
}

func seedOf(id uuid.UUID, r *nodepb.EnsureSeedRequest) (s hyper.Seed, err error) {
	s = hyper.Seed{
		InstanceID: id.String(), Hostname: r.GetHostname(), FQDN: r.GetFqdn(),
		PasswordHash: r.GetPasswordHash(), SSHKeys: r.GetSshKeys(), PasswordSerial: r.GetPasswordSerial(),
	}
	if s.DNS, err = each("dns", r.GetDns(), netip.ParseAddr); err != nil {
		return s, err
	}
	for _, l := range r.GetLinks() {
		var x hyper.Link
		if x.MAC, err = mac(l); err != nil {
			return s, err
		}
		if x.Addresses, err = each("links.addresses", l.GetAddresses(), netip.ParsePrefix); err != nil {
			return s, err
		}
		if x.Gateways, err = each("links.gateways", l.GetGateways(), netip.ParseAddr); err != nil {
			return s, err
		}
		s.Links = append(s.Links, x)
	}
	return s, nil
}

func machine(id uuid.UUID, r *nodepb.DefineMachineRequest) (m hyper.Machine, err error) {
	m = hyper.Machine{
		UUID: id, Name: r.GetTitle(), CPUs: int(r.GetCpuNumber()), MemoryMiB: int64(r.GetRamMib()), Seed: true,
		CD: r.GetCd(), Growth: r.GetGrowth(), CPU: cpu(r.GetCpu()), Throttle: throttle(r.GetDiskLimits()),
	}
	for _, d := range r.GetDisks() {
		m.Disks = append(m.Disks, disk(d))
	}
	for _, l := range r.GetLinks() {
		n := hyper.NIC{
			Network: l.GetNetwork(), AntiSpoofing: l.GetAntiSpoofing(),
			InMbit: int(l.GetInMbitps()), OutMbit: int(l.GetOutMbitps()), Firewall: firewall(l.GetFirewall()),
		}
		if n.MAC, err = mac(l); err != nil {
			return m, err
		}
		prefixes, err := each("links.addresses", l.GetAddresses(), netip.ParsePrefix)
		if err != nil {
			return m, err
		}
		for _, p := range prefixes {
			n.Addresses = append(n.Addresses, p.Addr())
		}
		if n.NodeSide, err = nodeSide(l); err != nil {
			return m, err
		}
		m.NICs = append(m.NICs, n)
	}
	return m, nil
}

func cpu(c *nodepb.CPULimits) hyper.CPU {
	return hyper.CPU{Mode: c.GetMode(), Model: c.GetModel(), Nesting: c.GetNesting(), Weight: int(c.GetWeight())}
}

func throttle(t *nodepb.DiskLimits) hyper.Throttle {
	return hyper.Throttle{
		ReadMbit: int(t.GetReadMbitps()), WriteMbit: int(t.GetWriteMbitps()),
		ReadIOPS: int(t.GetReadIops()), WriteIOPS: int(t.GetWriteIops()), Weight: int(t.GetWeight()),
	}
}

func firewall(rules []*nodepb.FirewallRule) (list []hyper.Rule) {
	for _, r := range rules {
		list = append(list, hyper.Rule{
			Drop: r.GetDrop(), Out: r.GetOut(), Protocols: r.GetProtocols(), From: int(r.GetPortStart()), To: int(r.GetPortEnd()),
		})
	}
	return list
}

func mac(l *nodepb.Link) (net.HardwareAddr, error) {
	m, err := net.ParseMAC(l.GetMac())
	if err != nil {
		return nil, fault.Invalid.With("%.60q is not a hardware address", l.GetMac()).On("links.mac")
	}
	return m, nil
}
