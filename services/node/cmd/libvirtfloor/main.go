//go:build libvirt_dlopen

// Libvirtfloor measures the cost of one machine through libvirt alone: qemu-img create, define and start, one after the other
// and nothing else. make bench compares the agent with this floor; the machine is like one that the agent makes.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	lv "libvirt.org/go/libvirt"
	"libvirt.org/go/libvirtxml"
)

func main() {
	pattern := flag.String("pattern", "", "root of an agent that has a machine")
	root := flag.String("root", "", "directory for the floor's own machine")
	flag.Parse()
	took, err := measure(*pattern, *root)
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(map[string]time.Duration{"total_ns": took})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "libvirtfloor:", err)
		os.Exit(1)
	}
}

func measure(pattern, root string) (took time.Duration, err error) {
	definitions, err := filepath.Glob(filepath.Join(pattern, "libvirt", "etc", "qemu", "*.xml"))
	if err != nil || len(definitions) == 0 {
		return 0, errors.Join(err, errors.New("the pattern has no machine"))
	}
	text, err := os.ReadFile(definitions[0])
	if err != nil {
		return 0, err
	}
	var d libvirtxml.Domain
	if err := d.Unmarshal(string(text)); err != nil {
		return 0, err
	}
	dir := filepath.Join(root, "machine")
	if err := errors.Join(os.MkdirAll(dir, 0o755), os.Chmod(root, 0o755), copyConf(pattern, root)); err != nil {
		return 0, err
	}
	base, err := adapt(&d, dir)
	if err != nil {
		return 0, err
	}
	xml, err := d.Marshal()
	if err != nil {
		return 0, err
	}
	conn, err := connect(filepath.Join(root, "libvirt"))
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	// Work that libvirt does once for a process is not part of the floor.
	if dom, err := conn.DomainDefineXML(xml); err != nil {
		return 0, err
	} else if err := dom.Undefine(); err != nil {
		return 0, err
	}

	start := time.Now()
	disk := d.Devices.Disks[0].Source.File.File
	if out, err := exec.Command("qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", base, disk, "64M").CombinedOutput(); err != nil {
		return 0, fmt.Errorf("qemu-img: %w: %s", err, out)
	}
	if err := os.Chmod(disk, 0o666); err != nil { // the agent gives the file to qemu's user; here everybody may
		return 0, err
	}
	dom, err := conn.DomainDefineXML(xml)
	if err != nil {
		return 0, err
	}
	if err := dom.Create(); err != nil {
		return 0, errors.Join(err, dom.Undefine())
	}
	took = time.Since(start)
	return took, errors.Join(dom.Destroy(), dom.Undefine())
}

// adapt turns the pattern's definition into that of another machine with the same devices, and returns the template's file.
func adapt(d *libvirtxml.Domain, dir string) (base string, err error) {
	d.UUID, d.Name, d.Metadata, d.ID = "", "slipway-floor", nil, nil
	disks := d.Devices.Disks
	if len(disks) < 2 || disks[0].BackingStore == nil || disks[0].BackingStore.Source == nil {
		return "", errors.New("the pattern has no disk over a template and a seed")
	}
	base = disks[0].BackingStore.Source.File.File
	disks[0].Source.File.File = filepath.Join(dir, "disk.qcow2")
	for i := range d.Devices.Interfaces {
		d.Devices.Interfaces[i].MAC.Address, d.Devices.Interfaces[i].Target = "52:54:ff:00:00:01", nil
	}
	for i := range d.Devices.Serials {
		d.Devices.Serials[i].Log.File = filepath.Join(dir, "console.log")
	}
	d.Devices.Consoles = nil // libvirt derives it from the serial port
	return base, nil
}

// copyConf gives the floor's libvirt the agent's settings.
func copyConf(pattern, root string) error {
	text, err := os.ReadFile(filepath.Join(pattern, "libvirt", "etc", "qemu.conf"))
	if err != nil {
		return err
	}
	etc := filepath.Join(root, "libvirt", "etc")
	if err := os.MkdirAll(etc, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(etc, "qemu.conf"), text, 0o644)
}

func connect(root string) (*lv.Connect, error) {
	if err := lv.EventRegisterDefaultImpl(); err != nil {
		return nil, err
	}
	go func() {
		for {
			if err := lv.EventRunDefaultImpl(); err != nil {
				return
			}
		}
	}()
	return lv.NewConnect("qemu:///embed?root=" + root)
}
