package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const seedDir = "/run/seed"

// findSeed returns the block device labelled cidata and its file system, or nothing. The seed normally is a
// virtio disk; the drivers of CD drives are loaded only when no virtio disk is the seed.
func findSeed() (dev, kind string) {
	if dev, kind = scanDisks(); dev != "" || !hasDiskController() {
		return dev, kind
	}
	loadModules("scsi")
	eventually(time.Second, func() bool { // disks behind these drivers appear late
		dev, kind = scanDisks()
		return dev != ""
	})
	return dev, kind
}

func scanDisks() (dev, kind string) {
	names, _ := filepath.Glob("/sys/class/block/*") // sorted
	for _, name := range names {
		dev = filepath.Join("/dev", filepath.Base(name))
		if kind = seedKind(dev); kind != "" {
			return dev, kind
		}
	}
	return "", ""
}

// hasDiskController looks for a SCSI (also virtio-scsi) or IDE controller, PCI classes 0x0100 and 0x0101.
func hasDiskController() bool {
	files, _ := filepath.Glob("/sys/bus/pci/devices/*/class")
	for _, file := range files {
		class, _ := os.ReadFile(file)
		if bytes.HasPrefix(class, []byte("0x0100")) || bytes.HasPrefix(class, []byte("0x0101")) {
			return true
		}
	}
	return false
}

// seedKind returns the file system of dev if its label is that of a seed.
func seedKind(dev string) string {
	f, err := os.Open(dev)
	if err != nil {
		return ""
	}
	defer f.Close()
	sector := make([]byte, 2048)
	if _, err := f.ReadAt(sector, 16*2048); err == nil && string(sector[1:6]) == "CD001" && isLabel(sector[40:72]) {
		return "iso9660"
	}
	if _, err := f.ReadAt(sector[:512], 0); err != nil || sector[510] != 0x55 || sector[511] != 0xaa {
		return ""
	}
	if string(sector[54:57]) == "FAT" && isLabel(sector[43:54]) || string(sector[82:87]) == "FAT32" && isLabel(sector[71:82]) {
		return "vfat"
	}
	return ""
}

func isLabel(field []byte) bool {
	return strings.EqualFold(strings.TrimRight(string(field), " \x00"), "cidata")
}

// mountSeed returns a root that symbolic links on the disk cannot escape.
func mountSeed(dev, kind string) (*os.Root, error) {
	if kind == "vfat" {
		loadModules("vfat")
	}
	if err := os.MkdirAll(seedDir, 0o700); err != nil {
		return nil, err
	}
	flags := uintptr(unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC)
	if err := unix.Mount(dev, seedDir, kind, flags, ""); err != nil {
		return nil, err
	}
	return os.OpenRoot(seedDir)
}

func unmountSeed(root *os.Root) {
	root.Close()
	must("unmount seed", unix.Unmount(seedDir, 0))
}
