package host

import (
	"strings"

	"google.golang.org/protobuf/types/known/wrapperspb"

	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/pkg/stamp"
	"slipway.dev/services/vm/internal/cluster"
	"slipway.dev/services/vm/internal/machine"
	"slipway.dev/services/vm/internal/node"
)

func render(h *item) *vmpb.Host {
	p := &vmpb.Host{
		Id: h.ID, Name: h.Name, Comment: h.Comment, State: h.State, Domain: h.Domain,
		CpuNumber: h.CPUs, CpuNumberNew: h.NewCPUs, RamMib: h.RAM, RamMibNew: h.NewRAM,
		Disk: &vmpb.HostDisk{Id: h.DiskID, DiskMib: h.DiskMiB, DiskMibNew: h.DiskMiBNew, Name: h.DiskName}, DiskCount: h.DiskCount,
		Cluster: &vmpb.HostCluster{
			Id: h.ClusterID, Name: h.Cluster,
			DatacenterType: cluster.DatacenterType, VirtualizationType: cluster.VirtualizationType,
		},
		Node:    &vmpb.HostNode{Id: h.NodeID, Name: h.Node, IpAddr: node.HostOf(h.Endpoint), MaintenanceMode: h.Maintenance, HotPlugMemory: h.Growing},
		Account: &vmpb.HostAccount{Id: h.AccountID, Email: h.Email},
		Os:      &vmpb.HostOS{Id: h.OSID, Name: h.OS}, OsName: h.OS, OsGroup: h.OSGroup,
		Ip4: renderAddresses(h.IP4), Ip6: renderAddresses(h.IP6),
		IpSummary: strings.Join(append(h.IP4[:len(h.IP4):len(h.IP4)], h.IP6...), ", "), IpAutomation: "cloud-init", NetIsSynced: h.Synced,
		Interfaces:   []*vmpb.HostInterface{{HostInterface: guestInterface, Mac: h.MAC, Bridge: h.Bridge}},
		AntiSpoofing: h.AntiSpoofing, AntiSpoofingSettings: &vmpb.HostAntiSpoofing{},
		CreateDate: stamp.Text(h.CreatedAt), InternalName: h.UUID.String(),
		Uptime: h.Uptime, BalancerMode: h.Balancer, Vm5Restrictions: &vmpb.HostRestrictions{},
		IsProtected: h.Protected, RescueMode: h.Rescue, IsoMounted: h.CD, Autostart: h.Autostart, Tags: h.Tags,
	}
	renderLimits(p, h.Limits, h.NewLimits)
	if h.Task != nil {
		p.Task = wrapperspb.Int32(*h.Task)
	}
	return p
}

// renderLimits shows the limits of a host, and whether another bandwidth waits for its next stop.
func renderLimits(p *vmpb.Host, now, later *machine.Limits) {
	if now == nil {
		now = &machine.Limits{}
	}
	p.CpuMode, p.CpuCustomModel, p.Nesting, p.HotPlug, p.LiveResize = now.Mode(), now.CPUModel, now.Nesting, now.HotPlug, now.LiveResize
	p.CpuWeight, p.IoWeight = now.CPUWeight, now.IOWeight
	p.IoReadMbitps, p.IoWriteMbitps, p.IoReadIops, p.IoWriteIops = now.IOReadMbit, now.IOWriteMbit, now.IOReadIOPS, now.IOWriteIOPS
	p.NetBandwidthMbitps, p.NetInMbitps, p.NetOutMbitps = now.NetMbit, now.NetInMbit, now.NetOutMbit
	p.NetBandwidthMbitpsChanged = later != nil && later.NetMbit != now.NetMbit
	for _, r := range now.Firewall {
		p.FirewallRules = append(p.FirewallRules, &vmpb.HostFirewallRule{
			Action: r.Action, Direction: r.Direction, Protocols: r.Protocols, Portstart: r.PortStart, Portend: r.PortEnd,
		})
	}
}

// guestInterface is the name of a host's only interface in the guest.
const guestInterface = "eth0"

func renderAddresses(list []string) []*vmpb.HostAddress {
	out := make([]*vmpb.HostAddress, len(list))
	for i, ip := range list {
		out[i] = &vmpb.HostAddress{Ip: ip, Interface: guestInterface}
	}
	return out
}
