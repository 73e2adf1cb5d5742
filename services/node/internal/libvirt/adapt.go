//go:build libvirt_dlopen

package libvirt

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/uuid"
	lv "libvirt.org/go/libvirt"
	"libvirt.org/go/libvirtxml"

	"slipway.dev/pkg/clamp"
	"slipway.dev/services/node/internal/hyper"
)

// Adapt makes a running machine like its definition.
func (d *Driver) Adapt(ctx context.Context, id uuid.UUID, live bool) (r hyper.Resources, err error) {
	err = d.with(ctx, id, func(_ *lv.Connect, dom *domain) error {
		if dom == nil {
			return hyper.ErrNotDefined
		}
		active, err := dom.IsActive()
		if err != nil || !active {
			return err
		}
		want, err := read(dom.Domain, lv.DOMAIN_XML_INACTIVE)
		if err != nil {
			return err
		}
		has, err := read(dom.Domain, 0)
		if err != nil {
			return err
		}
		if d.kind != "test" {
			if err := d.limit(dom, want, has); err != nil {
				return err
			}
		}
		if err := d.exchange(ctx, dom, want, has); err != nil {
			return err
		}
		if r, err = running(dom); err != nil || !live {
			return err
		}
		if err := d.grow(dom, r, want, has); err != nil {
			return err
		}
		r, err = running(dom)
		return err
	})
	if is(err, lv.ERR_OPERATION_INVALID) { // off meanwhile
		if s, look := d.State(ctx, id); look == nil && s.Power == hyper.Off {
			return hyper.Resources{}, nil
		}
	}
	return r, err
}

// read returns the definition of a machine, or with flags 0 what it runs with.
func read(dom *lv.Domain, flags lv.DomainXMLFlags) (*libvirtxml.Domain, error) {
	text, err := dom.GetXMLDesc(flags)
	if err != nil {
		return nil, fmt.Errorf("read definition: %w", err)
	}
	d := &libvirtxml.Domain{}
	if err := d.Unmarshal(text); err != nil {
		return nil, fmt.Errorf("read definition: %w", err)
	}
	return d, nil
}

// running returns what a running machine has.
func running(dom *domain) (hyper.Resources, error) {
	info, err := dom.GetInfo()
	if err != nil {
		return hyper.Resources{}, fmt.Errorf("size of domain: %w", err)
	}
	has, err := read(dom.Domain, 0)
	if err != nil {
		return hyper.Resources{}, err
	}
	r := hyper.Resources{CPUs: int(info.NrVirtCpu), MemoryMiB: int64(info.MaxMem >> 10)} // #nosec G115 -- far below
	for file := range disksOf(has) {
		r.Disks = append(r.Disks, strings.TrimSuffix(filepath.Base(file), diskFile("")))
	}
	slices.Sort(r.Disks)
	return r, nil
}

// limit gives a running machine the limits of its disks and its shares of the node.
func (d *Driver) limit(dom *domain, want, has *libvirtxml.Domain) error {
	wanted := disksOf(want)
	for file, disk := range disksOf(has) {
		w, stays := wanted[file]
		if !stays || same(w.IOTune, disk.IOTune) {
			continue
		}
		if err := dom.SetBlockIoTune(disk.Target.Dev, parameters(w.IOTune), lv.DOMAIN_AFFECT_LIVE); err != nil {
			return fmt.Errorf("limit disk %s: %w", disk.Target.Dev, err)
		}
	}
	usual := host{groups2: groups2()}.shares(100)
	if w := sharesOf(want, usual); w != sharesOf(has, usual) {
		p := &lv.DomainSchedulerParameters{CpuSharesSet: true, CpuShares: uint64(w)}
		if err := dom.SetSchedulerParametersFlags(p, lv.DOMAIN_AFFECT_LIVE); err != nil {
			return fmt.Errorf("set the share of CPUs: %w", err)
		}
	}
	if w := weightOf(want); w != weightOf(has) {
		p := &lv.DomainBlkioParameters{WeightSet: true, Weight: w}
		if err := dom.SetBlkioParameters(p, lv.DOMAIN_AFFECT_LIVE); err != nil {
			return fmt.Errorf("set the share of disks: %w", err)
		}
	}
	return nil
}

func same(a, b *libvirtxml.DomainDiskIOTune) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.ReadBytesSec == b.ReadBytesSec && a.WriteBytesSec == b.WriteBytesSec && a.ReadIopsSec == b.ReadIopsSec &&
		a.WriteIopsSec == b.WriteIopsSec
}

// parameters are the limits as libvirt changes them; 0 removes one.
func parameters(t *libvirtxml.DomainDiskIOTune) *lv.DomainBlockIoTuneParameters {
	p := &lv.DomainBlockIoTuneParameters{ReadBytesSecSet: true, WriteBytesSecSet: true, ReadIopsSecSet: true, WriteIopsSecSet: true}
	if t != nil {
		p.ReadBytesSec, p.WriteBytesSec, p.ReadIopsSec, p.WriteIopsSec = t.ReadBytesSec, t.WriteBytesSec, t.ReadIopsSec, t.WriteIopsSec
		p.GroupNameSet, p.GroupName = true, t.GroupName
	}
	return p
}

func sharesOf(d *libvirtxml.Domain, usual uint) uint {
	if d.CPUTune == nil || d.CPUTune.Shares == nil {
		return usual
	}
	return d.CPUTune.Shares.Value
}

// usualWeight is the share of disks that machines have without a weight.
const usualWeight = 100

func weightOf(d *libvirtxml.Domain) uint {
	if d.BlockIOTune == nil || d.BlockIOTune.Weight == 0 {
		return usualWeight
	}
	return d.BlockIOTune.Weight
}

// grow adds CPUs and memory to a running machine, as far as it has room for them. What the hypervisor refuses is left for
// the next start.
func (d *Driver) grow(dom *domain, now hyper.Resources, want, has *libvirtxml.Domain) error {
	next := hyper.Grown(now, sizeOf(want), mostOf(has))
	if next.CPUs > now.CPUs {
		if err := dom.SetVcpusFlags(clamp.Uint(next.CPUs), lv.DOMAIN_VCPU_LIVE); err != nil && !d.refused(err) {
			return fmt.Errorf("add CPUs: %w", err)
		}
	}
	if more := next.MemoryMiB - now.MemoryMiB; more > 0 {
		text, err := module(more).Marshal()
		if err != nil {
			return fmt.Errorf("render memory: %w", err)
		}
		if err := dom.AttachDeviceFlags(text, lv.DOMAIN_DEVICE_MODIFY_LIVE); err != nil && !d.refused(err) {
			return fmt.Errorf("add memory: %w", err)
		}
	}
	return nil
}

// refused reports whether a machine cannot change while it runs, for a reason that another try does not remove.
func (d *Driver) refused(err error) bool {
	for _, code := range []lv.ErrorNumber{
		lv.ERR_OPERATION_FAILED, lv.ERR_OPERATION_UNSUPPORTED, lv.ERR_CONFIG_UNSUPPORTED, lv.ERR_INVALID_ARG, lv.ERR_INTERNAL_ERROR,
	} {
		if is(err, code) {
			d.cfg.Log.Warn("a machine changes at its next start", "err", err)
			return true
		}
	}
	return false
}

// module returns memory to add.
func module(mib int64) *libvirtxml.DomainMemorydev {
	return &libvirtxml.DomainMemorydev{Model: "dimm", Target: &libvirtxml.DomainMemorydevTarget{
		Size: &libvirtxml.DomainMemorydevTargetSize{Value: clamp.Uint(mib), Unit: "MiB"},
		Node: &libvirtxml.DomainMemorydevTargetNode{Value: 0},
	}}
}

// sizeOf returns what a definition gives the machine.
func sizeOf(d *libvirtxml.Domain) hyper.Resources {
	r := hyper.Resources{CPUs: int(d.VCPU.Value), MemoryMiB: mib(d.Memory.Value, d.Memory.Unit)} // #nosec G115 -- far below
	if d.VCPU.Current != 0 {
		r.CPUs = int(d.VCPU.Current) // #nosec G115 -- far below
	}
	return r
}

// mostOf returns what a running machine can have.
func mostOf(d *libvirtxml.Domain) hyper.Resources {
	r := hyper.Resources{CPUs: int(d.VCPU.Value)} // #nosec G115 -- far below
	if m := d.MaximumMemory; m != nil {
		r.MemoryMiB = mib(m.Value, m.Unit)
	}
	return r
}

// mib returns a size in MiB. libvirt's own unit is KiB.
func mib(value uint, unit string) int64 {
	if unit == "MiB" {
		return int64(value) // #nosec G115 -- far below
	}
	return int64(value >> 10) // #nosec G115 -- far below
}
