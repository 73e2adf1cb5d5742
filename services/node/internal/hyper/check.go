package hyper

import (
	"errors"
	"fmt"
	"regexp"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"
)

// Bounds of the commands that a node accepts, whatever the control plane sends.
const (
	MaxCPUs      = 512
	MaxMemoryMiB = 16 << 20 // 16 TiB
	MaxDiskMiB   = 64 << 20 // 64 TiB
	MaxDisks     = 16
	MaxNICs      = 16
)

var (
	bridgeName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,14}$`)
	diskName   = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,31}$`)
	sha256Hex  = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

// Check returns an error if n is not a valid bridge.
func (n Network) Check() error {
	if !bridgeName.MatchString(n.Name) {
		return ErrInvalid.With("a bridge name is 1 to 15 of a-z, 0-9, dot, dash, underscore").On("name")
	}
	if n.MTU != 0 && (n.MTU < 576 || n.MTU > 65535) {
		return ErrInvalid.With("an MTU is 576 to 65535").On("mtu")
	}
	for i, a := range n.Addresses {
		if !a.IsValid() || a.Addr().Is4In6() {
			return ErrInvalid.With("not an address with a prefix length").On(fmt.Sprintf("addresses[%d]", i))
		}
	}
	for i, g := range n.Guests {
		if !g.IsValid() || g.Zone() != "" || g.Is4In6() {
			return ErrInvalid.With("not an address").On(fmt.Sprintf("guests[%d]", i))
		}
	}
	for i, p := range n.NAT {
		if !p.IsValid() || p.Addr().Is4In6() || p.Bits() == 0 {
			return ErrInvalid.With("not a prefix").On(fmt.Sprintf("nat[%d]", i))
		}
	}
	return nil
}

// CheckDiskName returns an error if no disk has this name.
func CheckDiskName(name string) error {
	if !diskName.MatchString(name) {
		return ErrInvalid.With("a disk name is 1 to 32 of a-z, 0-9, dash").On("name")
	}
	return nil
}

// Check returns an error if d is not a valid disk.
func (d Disk) Check() error {
	if err := CheckDiskName(d.Name); err != nil {
		return err
	}
	switch {
	case d.SizeMiB < 1 || d.SizeMiB > MaxDiskMiB:
		return ErrInvalid.With("a disk has 1 to %d MiB", MaxDiskMiB).On("size_mib")
	case d.Bus != "" && d.Bus != VirtIO && d.Bus != SATA:
		return ErrInvalid.With("a bus is %s or %s", VirtIO, SATA).On("bus")
	case d.Template != "" && !sha256Hex.MatchString(d.Template):
		return ErrInvalid.With("a template is named by a SHA-256 in hex").On("template")
	}
	return nil
}

// Check returns an error if m is not a valid machine.
func (m Machine) Check() error {
	switch {
	case m.UUID == uuid.Nil:
		return ErrInvalid.With("a machine has a uuid").On("uuid")
	case !printable(m.Name):
		return ErrInvalid.With("a name is at most 255 bytes of printable text").On("name")
	case m.CPUs < 1 || m.CPUs > MaxCPUs:
		return ErrInvalid.With("a machine has 1 to %d CPUs", MaxCPUs).On("cpus")
	case m.MemoryMiB < 16 || m.MemoryMiB > MaxMemoryMiB:
		return ErrInvalid.With("a machine has 16 to %d MiB of memory", MaxMemoryMiB).On("memory_mib")
	case len(m.Disks) > MaxDisks:
		return ErrInvalid.With("a machine has at most %d disks", MaxDisks).On("disks")
	case len(m.NICs) > MaxNICs:
		return ErrInvalid.With("a machine has at most %d cards", MaxNICs).On("nics")
	}
	if err := errors.Join(m.CPU.check(), m.Throttle.check()); err != nil {
		return err
	}
	seen := map[string]bool{}
	for i, d := range m.Disks {
		if err := d.Check(); err != nil {
			return ErrInvalid.With("%s", err).On(fmt.Sprintf("disks[%d]", i))
		}
		if seen[d.Name] {
			return ErrInvalid.With("two disks are named %s", d.Name).On(fmt.Sprintf("disks[%d]", i))
		}
		seen[d.Name] = true
	}
	if m.CD != "" && (CheckDiskName(m.CD) != nil || seen[m.CD]) {
		return ErrInvalid.With("a CD has a name of its own of 1 to 32 of a-z, 0-9, dash").On("cd")
	}
	for i, n := range m.NICs {
		if len(n.MAC) != 6 || n.MAC[0]&1 != 0 {
			return ErrInvalid.With("not a unicast MAC address").On(fmt.Sprintf("nics[%d].mac", i))
		}
		if !bridgeName.MatchString(n.Network) {
			return ErrInvalid.With("not a bridge name").On(fmt.Sprintf("nics[%d].network", i))
		}
		if err := n.checkLimits(); err != nil {
			return ErrInvalid.With("%s", err).On(fmt.Sprintf("nics[%d]", i))
		}
		for _, a := range n.Addresses {
			if !a.IsValid() || a.Zone() != "" || a.Is4In6() {
				return ErrInvalid.With("not an address").On(fmt.Sprintf("nics[%d].addresses", i))
			}
		}
		if s := n.NodeSide; s != nil {
			if err := (Network{Name: n.Network, Addresses: s.Addresses, NAT: s.NAT}).Check(); err != nil {
				return ErrInvalid.With("%s", err).On(fmt.Sprintf("nics[%d].node_side", i))
			}
		}
	}
	return nil
}

// cryptHash is the form of a crypt(3) hash.
var cryptHash = regexp.MustCompile(`^\$[a-z0-9]{1,10}\$[A-Za-z0-9./,=$+_-]{1,500}$`)

// CheckHash returns an error if text is no crypt(3) hash.
func CheckHash(text string) error {
	if !cryptHash.MatchString(text) {
		return ErrInvalid.With("not a crypt(3) hash").On("password_hash")
	}
	return nil
}

func printable(s string) bool {
	if len(s) > 255 || !utf8.ValidString(s) {
		return false
	}
	for _, r := range s {
		if !unicode.IsPrint(r) {
			return false
		}
	}
	return true
}
