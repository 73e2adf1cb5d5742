//go:build libvirt_dlopen

package libvirt

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	lv "libvirt.org/go/libvirt"
	"libvirt.org/go/libvirtxml"

	"slipway.dev/services/node/internal/hyper"
)

// A guest releases a disk within releaseTime, or not at all.
const (
	releaseTime = 30 * time.Second
	releaseLook = 100 * time.Millisecond
)

// disksOf returns the disks of a definition that machines write to, by their files.
func disksOf(d *libvirtxml.Domain) map[string]libvirtxml.DomainDisk {
	all := map[string]libvirtxml.DomainDisk{}
	if d.Devices == nil {
		return all
	}
	for _, disk := range d.Devices.Disks {
		if file := fileOf(disk); file != "" && disk.Target != nil && disk.ReadOnly == nil {
			all[file] = disk
		}
	}
	return all
}

// fileOf returns the file of a disk, "" for none.
func fileOf(disk libvirtxml.DomainDisk) string {
	if disk.Source == nil || disk.Source.File == nil {
		return ""
	}
	return disk.Source.File.File
}

// exchange takes the disks from a running machine that its definition lacks, and gives it those that it lacks. What the hypervisor
// or the guest refuses is left for the next start.
func (d *Driver) exchange(ctx context.Context, dom *domain, want, has *libvirtxml.Domain) error {
	wanted, there := disksOf(want), disksOf(has)
	for _, file := range slices.Sorted(maps.Keys(there)) {
		if _, stays := wanted[file]; stays || there[file].Target.Bus != hyper.VirtIO { // other buses lose no disk before the next start
			continue
		}
		if err := d.unplug(ctx, dom, file, there[file]); err != nil {
			return err
		}
	}
	for _, disk := range want.Devices.Disks { // in the order of the definition
		_, writable := wanted[fileOf(disk)]
		_, has := there[fileOf(disk)]
		if !writable || has || disk.Target.Bus != hyper.VirtIO { // other buses take no disk before the next start
			continue
		}
		if err := d.attach(dom, disk); err != nil {
			return err
		}
	}
	return nil
}

// unplug asks the guest to release a disk and waits until it has.
func (d *Driver) unplug(ctx context.Context, dom *domain, file string, disk libvirtxml.DomainDisk) error {
	text, err := disk.Marshal()
	if err != nil {
		return fmt.Errorf("render disk: %w", err)
	}
	if err := dom.DetachDeviceFlags(text, lv.DOMAIN_DEVICE_MODIFY_LIVE); err != nil && !d.refused(err) {
		return fmt.Errorf("take a disk: %w", err)
	}
	for end := time.Now().Add(releaseTime); time.Now().Before(end); {
		now, err := read(dom.Domain, 0)
		if err != nil {
			return err
		}
		if _, has := disksOf(now)[file]; !has {
			return nil
		}
		select {
		case <-time.After(releaseLook):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// attach gives a running machine a disk, under a name that none of its disks has.
func (d *Driver) attach(dom *domain, disk libvirtxml.DomainDisk) error {
	now, err := read(dom.Domain, 0)
	if err != nil {
		return err
	}
	taken := map[string]bool{}
	for _, x := range now.Devices.Disks {
		if x.Target != nil {
			taken[x.Target.Dev] = true
		}
	}
	at := 0
	for taken[target(at)] {
		at++
	}
	disk.Target = &libvirtxml.DomainDiskTarget{Dev: target(at), Bus: disk.Target.Bus}
	disk.Address, disk.Alias, disk.Boot = nil, nil, nil // those of the next start
	text, err := disk.Marshal()
	if err != nil {
		return fmt.Errorf("render disk: %w", err)
	}
	if err := dom.AttachDeviceFlags(text, lv.DOMAIN_DEVICE_MODIFY_LIVE); err != nil && !d.refused(err) {
		return fmt.Errorf("give a disk: %w", err)
	}
	return nil
}
