package libvirt

import (
	"fmt"
	"path/filepath"
	"strconv"

	"libvirt.org/go/libvirtxml"

	"slipway.dev/pkg/clamp"
	"slipway.dev/services/node/internal/hyper"
	"slipway.dev/services/node/internal/template"
)

// host has the properties of the host on which a definition depends.
type host struct {
	kind  string // kvm, qemu or test: libvirt's domain types
	cache string // of disks: none where the file system can, else writeback
	dir   string // of the machine
	agent string // the socket of the guest agent; "" lets libvirt choose
	tty   string // the socket of the serial console
	base  func(sha256 string) (template.Template, error)

	groups2 bool // the node has the second version of control groups
}

const (
	seedFile    = "seed.iso"
	consoleFile = "console.log"
)

func diskFile(name string) string { return name + ".qcow2" }

func cdFile(name string) string { return name + ".iso" }

// render returns the definition of a machine. It encodes typed values and never pastes text into XML.
func render(m hyper.Machine, h host) (string, error) {
	meta, err := newMetadata(m).encode()
	if err != nil {
		return "", fmt.Errorf("encode metadata: %w", err)
	}
	d := libvirtxml.Domain{
		Type: h.kind, Name: hyper.DomainName(m.Meta.StackID, m.Meta.HostID, m.UUID), UUID: m.UUID.String(), Title: m.Name,
		Metadata: &libvirtxml.DomainMetadata{XML: meta},
		OS: &libvirtxml.DomainOS{
			Type: &libvirtxml.DomainOSType{Arch: "x86_64", Machine: "q35", Type: "hvm"},
		},
		Features: &libvirtxml.DomainFeatureList{ACPI: &libvirtxml.DomainFeature{}, APIC: &libvirtxml.DomainFeatureAPIC{}},
		CPU:      cpu(m.CPU, h.kind),
		Clock:    &libvirtxml.DomainClock{Offset: "utc"},
		// A guest that powers off is off; a crashed guest is off with a reason in its state.
		OnPoweroff: "destroy", OnReboot: "restart", OnCrash: "destroy",
		Devices: &libvirtxml.DomainDeviceList{},
	}
	if h.kind == "test" {
		d.OS.Type.Arch, d.OS.Type.Machine = "", ""
	}
	sizes(&d, m, h)
	weights(&d, m, h)
	if err := disks(d.Devices, m, h); err != nil {
		return "", err
	}
	if m.CD != "" {
		insertCD(&d, filepath.Join(h.dir, cdFile(m.CD)))
	}
	for i, n := range m.NICs {
		d.Devices.Interfaces = append(d.Devices.Interfaces, libvirtxml.DomainInterface{
			MAC:    &libvirtxml.DomainInterfaceMAC{Address: n.MAC.String()},
			Source: &libvirtxml.DomainInterfaceSource{Bridge: &libvirtxml.DomainInterfaceSourceBridge{Bridge: n.Network}},
			Target: &libvirtxml.DomainInterfaceTarget{Dev: hyper.TapName(m.Meta.StackID, m.UUID, i)},
			Model:  &libvirtxml.DomainInterfaceModel{Type: "virtio"},
		})
	}
	if h.kind != "test" {
		fixed(d.Devices, h)
		ports(d.Devices)
	}
	return d.Marshal()
}

// sparePorts is how many disks a machine can get while it runs. Each costs its start some milliseconds.
const sparePorts = 2

// ports gives a machine the PCI ports that its devices need, and spare ones. The controllers of USB and of the agent's channel, the
// balloon and the source of entropy have one each.
func ports(l *libvirtxml.DomainDeviceList) {
	n := len(l.Interfaces) + len(l.Controllers) + len(l.Channels) + len(l.RNGs) + 1 + sparePorts
	for _, disk := range l.Disks {
		if disk.Target.Bus == hyper.VirtIO {
			n++
		}
	}
	l.Controllers = append(l.Controllers, libvirtxml.DomainController{Type: "pci", Model: "pcie-root"})
	for range n {
		l.Controllers = append(l.Controllers, libvirtxml.DomainController{Type: "pci", Model: "pcie-root-port"})
	}
}

// fixed returns the devices of every machine: a console with a log, a display with a tablet, a channel for the guest agent,
// entropy, a balloon. The display has no keymap: keys arrive as scan codes, and the guest's layout decides. All viewers share it,
// whatever they ask for. The tablet points to where the viewer's pointer is.
func fixed(l *libvirtxml.DomainDeviceList, h host) {
	port := uint(0)
	l.Controllers = []libvirtxml.DomainController{{Type: "usb", Model: "qemu-xhci"}}
	l.Inputs = []libvirtxml.DomainInput{{Type: "tablet", Bus: "usb"}}
	l.Graphics = []libvirtxml.DomainGraphic{{VNC: &libvirtxml.DomainGraphicVNC{
		SharePolicy: "ignore", Listeners: []libvirtxml.DomainGraphicListener{{Socket: &libvirtxml.DomainGraphicListenerSocket{}}},
	}}}
	l.Serials = []libvirtxml.DomainSerial{{
		Source: &libvirtxml.DomainChardevSource{UNIX: &libvirtxml.DomainChardevSourceUNIX{Mode: "bind", Path: h.tty}},
		Target: &libvirtxml.DomainSerialTarget{Type: "isa-serial", Port: &port},
		Log:    &libvirtxml.DomainChardevLog{File: filepath.Join(h.dir, consoleFile), Append: "on"},
	}}
	socket := &libvirtxml.DomainChardevSourceUNIX{}
	if h.agent != "" {
		socket.Mode, socket.Path = "bind", h.agent
	}
	l.Channels = []libvirtxml.DomainChannel{{
		Source: &libvirtxml.DomainChardevSource{UNIX: socket},
		Target: &libvirtxml.DomainChannelTarget{VirtIO: &libvirtxml.DomainChannelTargetVirtIO{Name: "org.qemu.guest_agent.0"}},
	}}
	l.Videos = []libvirtxml.DomainVideo{{Model: libvirtxml.DomainVideoModel{Type: "vga", VRam: 16 << 10, Heads: 1, Primary: "yes"}}}
	// The guest says every ten seconds how much of its memory it uses.
	l.MemBalloon = &libvirtxml.DomainMemBalloon{Model: "virtio", FreePageReporting: "on", Stats: &libvirtxml.DomainMemBalloonStats{Period: 10}}
	l.RNGs = []libvirtxml.DomainRNG{{
		Model: "virtio",
		Backend: &libvirtxml.DomainRNGBackend{
			Random: &libvirtxml.DomainRNGBackendRandom{Device: "/dev/urandom"},
		},
	}}
}

// disks returns the disks, from which the machine starts in their order, after the CD. If a disk fails or is full the machine is
// paused and can go on later: the guest sees no error.
func disks(l *libvirtxml.DomainDeviceList, m hyper.Machine, h host) error {
	first := 1
	if m.CD != "" {
		first = 2
	}
	for i, disk := range m.Disks {
		x := libvirtxml.DomainDisk{
			Device: "disk",
			Driver: &libvirtxml.DomainDiskDriver{
				Name: "qemu", Type: "qcow2", Cache: h.cache, Discard: "unmap", ErrorPolicy: "stop", RErrorPolicy: "stop",
			},
			Source: source(filepath.Join(h.dir, diskFile(disk.Name))),
			// The backing chain is complete, so that libvirt does not search the files for it.
			BackingStore: &libvirtxml.DomainDiskBackingStore{},
			Target:       busOf(disk, i),
			Boot:         &libvirtxml.DomainDeviceBoot{Order: clamp.Uint(first + i)},
			Serial:       serial(disk.Name),
			IOTune:       throttle(m.Throttle),
		}
		if disk.Template != "" {
			base, err := h.base(disk.Template)
			if err != nil {
				return err
			}
			x.BackingStore = &libvirtxml.DomainDiskBackingStore{
				Format:       &libvirtxml.DomainDiskFormat{Type: base.Format},
				Source:       source(base.Path),
				BackingStore: &libvirtxml.DomainDiskBackingStore{},
			}
		}
		l.Disks = append(l.Disks, x)
	}
	if m.Seed {
		l.Disks = append(l.Disks, libvirtxml.DomainDisk{
			Device:   "disk",
			Driver:   &libvirtxml.DomainDiskDriver{Name: "qemu", Type: "raw"},
			Source:   source(filepath.Join(h.dir, seedFile)),
			Target:   &libvirtxml.DomainDiskTarget{Dev: target(len(m.Disks)), Bus: hyper.VirtIO},
			ReadOnly: &libvirtxml.DomainDiskReadOnly{},
		})
	}
	return nil
}

// insertCD gives a machine a drive with a CD, from which it starts before its disks.
func insertCD(d *libvirtxml.Domain, image string) {
	d.Devices.Disks = append(d.Devices.Disks, libvirtxml.DomainDisk{
		Device:   "cdrom",
		Driver:   &libvirtxml.DomainDiskDriver{Name: "qemu", Type: "raw"},
		Source:   source(image),
		Target:   &libvirtxml.DomainDiskTarget{Dev: "sda", Bus: hyper.SATA},
		Boot:     &libvirtxml.DomainDeviceBoot{Order: 1},
		ReadOnly: &libvirtxml.DomainDiskReadOnly{},
	})
}

// source returns a file with an owner that libvirt does not change: machines share templates, and disks have their owner already.
func source(path string) *libvirtxml.DomainDiskSource {
	return &libvirtxml.DomainDiskSource{File: &libvirtxml.DomainDiskSourceFile{
		File:     path,
		SecLabel: []libvirtxml.DomainDeviceSecLabel{{Model: "dac", Relabel: "no"}},
	}}
}

// busOf returns the bus of the i-th disk of a machine, with its place there. The first one on SATA is that of a CD.
func busOf(d hyper.Disk, i int) *libvirtxml.DomainDiskTarget {
	if d.Bus == hyper.SATA {
		return &libvirtxml.DomainDiskTarget{Dev: "sd" + string(rune('b'+i)), Bus: hyper.SATA} // #nosec G115 -- below 25
	}
	return &libvirtxml.DomainDiskTarget{Dev: target(i), Bus: hyper.VirtIO}
}

// target returns vda, vdb … vdz; MaxDisks and the seed fit.
func target(i int) string { return "vd" + string(rune('a'+i)) } // #nosec G115 -- below 26

// serial returns the serial number by which the guest identifies a disk; virtio has room for 20 bytes.
func serial(name string) string {
	if len(name) <= 20 {
		return name
	}
	return name[:17] + strconv.Itoa(len(name))
}

// socketOf returns the socket of a console, "" if there is none.
func socketOf(l *libvirtxml.DomainDeviceList, c hyper.Console) string {
	if l == nil {
		return ""
	}
	if c == hyper.Serial {
		for _, s := range l.Serials {
			if s.Source != nil && s.Source.UNIX != nil {
				return s.Source.UNIX.Path
			}
		}
		return ""
	}
	for _, g := range l.Graphics {
		if g.VNC == nil {
			continue
		}
		for _, listen := range g.VNC.Listeners {
			if listen.Socket != nil {
				return listen.Socket.Socket
			}
		}
		return g.VNC.Socket
	}
	return ""
}
