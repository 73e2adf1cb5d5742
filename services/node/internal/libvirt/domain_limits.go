package libvirt

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"libvirt.org/go/libvirtxml"

	"slipway.dev/pkg/clamp"
	"slipway.dev/services/node/internal/hyper"
)

// slots is how often memory can be added to a running machine.
const slots = 16

// sizes sets CPUs and memory, with room for more where the machine may grow. Memory is added to a node of the guest's
// memory (NUMA), of which it has one then.
func sizes(d *libvirtxml.Domain, m hyper.Machine, h host) {
	d.Memory = &libvirtxml.DomainMemory{Value: clamp.Uint(m.MemoryMiB), Unit: "MiB"}
	d.VCPU = &libvirtxml.DomainVCPU{Placement: "static", Value: clamp.Uint(m.CPUs)}
	if !m.Growth || h.kind == "test" {
		return
	}
	most, cell := m.Most(), uint(0)
	d.VCPU.Value, d.VCPU.Current = clamp.Uint(most.CPUs), clamp.Uint(m.CPUs)
	d.MaximumMemory = &libvirtxml.DomainMaxMemory{Value: clamp.Uint(most.MemoryMiB), Unit: "MiB", Slots: slots}
	d.CPU.Numa = &libvirtxml.DomainNuma{Cell: []libvirtxml.DomainCell{{
		ID: &cell, CPUs: fmt.Sprintf("0-%d", most.CPUs-1), Memory: clamp.Uint(m.MemoryMiB), Unit: "MiB",
	}}}
}

// virtual are the features by which a guest runs machines of its own. Emulated CPUs keep theirs: without svm, the largest one of
// QEMU 7.2 does not run programs of Debian.
var virtual = map[string][]string{"kvm": {"vmx", "svm"}}

// cpu returns how the CPUs look, nil for libvirt's own choice.
func cpu(c hyper.CPU, kind string) *libvirtxml.DomainCPU {
	out := &libvirtxml.DomainCPU{}
	switch {
	case kind == "test":
		return nil
	case c.Mode == hyper.CPUCustom:
		out.Mode, out.Match = "custom", "exact"
		out.Model = &libvirtxml.DomainCPUModel{Fallback: "forbid", Value: c.Model}
	case c.Mode == hyper.CPUHostModel:
		out.Mode = "host-model"
	case kind == "kvm":
		out.Mode, out.Check, out.Migratable = "host-passthrough", "none", "on"
	default:
		out.Mode = "maximum"
	}
	policy := "disable"
	if c.Nesting {
		if policy = "optional"; out.Model == nil {
			return out // the host's own has it
		}
	}
	for _, name := range virtual[kind] {
		out.Features = append(out.Features, libvirtxml.DomainCPUFeature{Policy: policy, Name: name})
	}
	return out
}

// weights sets the machine's shares of the node.
func weights(d *libvirtxml.Domain, m hyper.Machine, h host) {
	if w := m.CPU.Weight; w > 0 {
		d.CPUTune = &libvirtxml.DomainCPUTune{Shares: &libvirtxml.DomainCPUTuneShares{Value: h.shares(w)}}
	}
	if w := m.Throttle.Weight; w > 0 {
		d.BlockIOTune = &libvirtxml.DomainBlockIOTune{Weight: clamp.Uint(w)}
	}
}

// shares returns a weight as the node's control groups count it: 100 is the usual one, which the first version calls 1024.
func (h host) shares(weight int) uint {
	if h.groups2 {
		return clamp.Uint(weight)
	}
	return max(2, clamp.Uint(weight*1024/100))
}

// throttle returns the limits of a disk. All disks of a machine are of one group, so that they share the limits.
func throttle(t hyper.Throttle) *libvirtxml.DomainDiskIOTune {
	if !t.Limited() {
		return nil
	}
	return &libvirtxml.DomainDiskIOTune{
		ReadBytesSec: bytesOf(t.ReadMbit), WriteBytesSec: bytesOf(t.WriteMbit),
		ReadIopsSec: uint64(clamp.Uint(t.ReadIOPS)), WriteIopsSec: uint64(clamp.Uint(t.WriteIOPS)), GroupName: "host",
	}
}

// bytesOf returns Mbit/s as bytes in a second.
func bytesOf(mbit int) uint64 { return uint64(clamp.Uint(mbit)) * 1_000_000 / 8 }

// Where the control groups of a node are.
const groupsDir = "/sys/fs/cgroup"

// groups2 reports whether the node has the second version of control groups.
func groups2() bool {
	_, err := os.Stat(filepath.Join(groupsDir, "cgroup.controllers"))
	return err == nil
}

// groupFeatures are what the control groups of the node can do.
func groupFeatures() (list []string) {
	if found(groupsDir+"/cpu/cpu.shares", groupsDir+"/cpu,cpuacct/cpu.shares", groupsDir+"/*/cpu.weight") {
		list = append(list, hyper.FeatureCPUWeight)
	}
	if found(groupsDir+"/blkio/blkio.weight", groupsDir+"/blkio/blkio.bfq.weight", groupsDir+"/*/io.weight", groupsDir+"/*/io.bfq.weight") {
		list = append(list, hyper.FeatureIOWeight)
	}
	return list
}

func found(patterns ...string) bool {
	for _, p := range patterns {
		if files, err := filepath.Glob(p); err == nil && len(files) > 0 {
			return true
		}
	}
	return false
}

// nests reports whether KVM lets guests run machines of their own.
func nests() bool {
	for _, module := range []string{"kvm_intel", "kvm_amd"} {
		b, err := os.ReadFile("/sys/module/" + module + "/parameters/nested")
		if text := strings.TrimSpace(string(b)); err == nil && (text == "1" || text == "Y") {
			return true
		}
	}
	return false
}

// cpuFeatures returns the modes and models of CPUs that libvirt says machines can have.
func cpuFeatures(capabilities string) (list []string, err error) {
	var caps libvirtxml.DomainCaps
	if err := caps.Unmarshal(capabilities); err != nil {
		return nil, fmt.Errorf("read capabilities: %w", err)
	}
	if caps.CPU == nil {
		return nil, nil
	}
	for _, mode := range caps.CPU.Modes {
		if mode.Supported != "yes" {
			continue
		}
		list = append(list, hyper.FeatureMode+mode.Name)
		if mode.Name != hyper.CPUCustom {
			continue
		}
		for _, model := range mode.Models {
			if model.Usable == "yes" {
				list = append(list, hyper.FeatureModel+model.Name)
			}
		}
	}
	return list, nil
}
