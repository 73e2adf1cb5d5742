package domain

import (
	"fmt"
	"net/netip"
	"strings"

	"golang.org/x/crypto/ssh"

	"slipway.dev/pkg/clamp"
	"slipway.dev/pkg/fault"
)

// Limits of one host. Sources: the dialect's hot-resize limits for CPUs, KVM's practice for the rest.
const (
	maxCPUs     = 240
	maxRAMMiB   = 16 << 20
	maxDiskMiB  = 64 << 20
	maxDisks    = 8
	maxAddrs    = 64
	maxPassword = 128
	maxKeys     = 32
)

// Wish is what somebody asks a new host to be. Zero numbers mean "not given".
type Wish struct {
	Name, Comment, Domain  string
	Password               string
	Cluster, Node, Account int32
	OS, Image, Preset      int32
	CPUs, RAM              int32
	Disks                  []Disk
	IPv4Number             int32
	IPv4Pools              []int32
	WishedAddress          string
	OfNetwork              int32 // the addresses' network; 0 is any
	IPv6                   bool
	AntiSpoofing           bool
	SSHKeys                []string
}

// Check refuses a wish that no installation could fulfil, and names the field at fault.
func (w *Wish) Check() error {
	if err := CheckName(w.Name); err != nil {
		return err
	}
	if err := CheckComment(w.Comment); err != nil {
		return err
	}
	if w.Domain != "" {
		if err := CheckDomain(w.Domain); err != nil {
			return err
		}
	}
	switch {
	case w.Image != 0:
		return fault.Invalid.With("there is no image %d", w.Image).On("image")
	case w.Preset != 0:
		return fault.Invalid.With("there is no preset %d", w.Preset).On("preset")
	case w.OS == 0:
		return fault.Invalid.With("required, the id of an OS template of GET /vm/v3/os").On("os")
	case w.Password == "" && len(w.SSHKeys) == 0:
		return fault.Invalid.With("required").On("password")
	case len(w.Password) > maxPassword || strings.ContainsAny(w.Password, "\x00\r\n"):
		return fault.Invalid.With("at most %d characters in one line", maxPassword).On("password")
	}
	if err := w.checkSize(); err != nil {
		return err
	}
	if w.WishedAddress != "" {
		if _, err := netip.ParseAddr(w.WishedAddress); err != nil {
			return fault.Invalid.With("%.60q is not an address", w.WishedAddress).On("ip_addr")
		}
	}
	return w.checkKeys()
}

func (w *Wish) checkSize() error {
	if err := between("cpu_number", w.CPUs, 0, maxCPUs); err != nil {
		return err
	}
	if err := between("ram_mib", w.RAM, 0, maxRAMMiB); err != nil {
		return err
	}
	if err := between("ipv4_number", w.IPv4Number, 0, maxAddrs); err != nil {
		return err
	}
	if len(w.Disks) > maxDisks {
		return fault.Invalid.With("at most %d", maxDisks).On("disks")
	}
	for _, d := range w.Disks {
		if err := between("hdd_mib", d.SizeMiB, 0, maxDiskMiB); err != nil {
			return err
		}
	}
	return nil
}

func between(field string, n, least, most int32) error {
	if n < least || n > most {
		return fault.Invalid.With("%d is not between %d and %d", n, max(least, 1), most).On(field)
	}
	return nil
}

func (w *Wish) checkKeys() error {
	if len(w.SSHKeys) > maxKeys {
		return fault.Invalid.With("at most %d", maxKeys).On("ssh_keys")
	}
	for i, text := range w.SSHKeys {
		key, _, options, rest, err := ssh.ParseAuthorizedKey([]byte(text))
		if err != nil || len(options) > 0 || len(strings.TrimSpace(string(rest))) > 0 {
			return fault.Invalid.With("number %d is not one public key without options", i+1).On("ssh_keys")
		}
		w.SSHKeys[i] = strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key)))
	}
	return nil
}

// Fill completes the wish with what the OS template needs, and refuses one that gives it less.
func (w *Wish) Fill(minRAM, minDisk int32, template string) error {
	if w.CPUs == 0 {
		w.CPUs = 1
	}
	if w.RAM == 0 {
		w.RAM = minRAM
	}
	if w.RAM < minRAM {
		return fault.Invalid.With("this OS needs at least %d", minRAM).On("ram_mib")
	}
	if len(w.Disks) == 0 {
		w.Disks = []Disk{{}}
	}
	if w.Disks[0].SizeMiB == 0 {
		w.Disks[0].SizeMiB = minDisk
	}
	if w.Disks[0].SizeMiB < minDisk {
		return fault.Invalid.With("this OS needs at least %d", minDisk).On("hdd_mib")
	}
	w.Disks[0].Template = template
	for i := range w.Disks {
		if w.Disks[i].SizeMiB == 0 {
			return fault.Invalid.With("number %d has no size_mib", i+1).On("disks")
		}
		// Names of files follow from the position: what the client calls a disk is never a path.
		w.Disks[i].Name, w.Disks[i].BootOrder = fmt.Sprintf("disk%d", i), clamp.Int32(i+1)
	}
	return nil
}

// DiskTotal is the size of all disks in MiB.
func (w *Wish) DiskTotal() int64 {
	var sum int64
	for _, d := range w.Disks {
		sum += int64(d.SizeMiB)
	}
	return sum
}
