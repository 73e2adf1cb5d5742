package agent

import (
	"bufio"
	"context"
	"net/netip"
	"os"
	"strings"

	nodepb "slipway.dev/proto/node/v1"

	"slipway.dev/pkg/clamp"
	"slipway.dev/services/node/internal/hyper"
	"slipway.dev/services/node/internal/ostemplate"
)

// Describe returns the facts about the node.
func (a *Agent) Describe(ctx context.Context, _ *nodepb.DescribeRequest) (*nodepb.Description, error) {
	f, err := a.driver.Facts(ctx)
	if err != nil {
		return nil, err
	}
	oses, err := a.templates.List()
	if err != nil {
		return nil, err
	}
	hostname, err := os.Hostname()
	if err != nil {
		return nil, err
	}
	d := &nodepb.Description{
		Uuid: a.nodeID, StackId: a.stackID, Hostname: hostname, CpuNumber: clamp.Int32(f.CPUs), CpuModel: f.CPUModel,
		RamMib: clamp.Int32(f.MemoryMiB), StorageMib: clamp.Int32(f.StorageTotalMiB), StorageFreeMib: clamp.Int32(f.StorageFreeMiB),
		Hypervisor: f.Hypervisor, LibvirtVersion: f.Libvirt, QemuVersion: f.QEMU, KernelVersion: f.Kernel, OsVersion: f.OS,
		Accel: string(f.Accel), BootId: f.BootID, Bridge: hyper.BridgeName(a.stackID, 0), Dns: nameservers(resolvConfs...),
		Features: f.Features,
	}
	for _, o := range oses {
		d.Templates = append(d.Templates, templateOf(o))
	}
	return d, nil
}

func templateOf(o ostemplate.OS) *nodepb.Template {
	return &nodepb.Template{
		Name: o.Name, Title: o.Title, Sha256: o.SHA256, MinRamMib: o.MinRAMMiB, MinDiskMib: o.MinDiskMiB,
		OsType: o.OSType, OsGroup: o.OSGroup, Version: o.Version,
	}
}

// publicDNS is for guests of a node with name servers on its loopback only.
var publicDNS = []string{"1.1.1.1", "9.9.9.9"}

// resolvConfs are where the name servers of a node are written. The second one has those behind the stub of
// systemd-resolved, which is all that the first one names then.
var resolvConfs = []string{"/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"}

// nameservers returns the name servers that a guest can reach too, of the first file that has some.
func nameservers(paths ...string) []string {
	for _, path := range paths {
		if list := nameserversOf(path); list != nil {
			return list
		}
	}
	return publicDNS
}

// nameserversOf returns the name servers of one resolv.conf that a guest can reach too, nil for none.
func nameserversOf(path string) []string {
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	var list []string
	for lines := bufio.NewScanner(f); lines.Scan(); {
		words := strings.Fields(lines.Text())
		if len(words) < 2 || words[0] != "nameserver" {
			continue
		}
		if a, err := netip.ParseAddr(words[1]); err == nil && !a.IsLoopback() && a.Zone() == "" {
			list = append(list, a.String())
		}
	}
	return list
}
