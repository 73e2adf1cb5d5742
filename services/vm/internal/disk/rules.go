// Package disk keeps the disks of hosts.
package disk

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"google.golang.org/grpc/codes"

	"slipway.dev/pkg/clamp"
	"slipway.dev/pkg/fault"
)

// Limits of the disks of one host.
const (
	maxMiB   = 64 << 20
	maxDisks = 8
	MaxPlace = 1 << 20 // in the boot order: a further disk has a place behind it
)

// ErrBusy refuses to exchange a disk that a task works on.
var ErrBusy = fault.New(codes.FailedPrecondition, "DISK_BUSY", "a task works on the disk")

// FileOf returns the name of the file of a disk that has been without a host.
func FileOf(id int32) string { return fmt.Sprintf("vol%d", id) }

// Key returns the key of the jobs of a disk without a host.
func Key(id int32) string { return fmt.Sprintf("disk/%d", id) }

// Disk is a disk of a host.
type Disk struct {
	ID        int32
	Name      string
	SizeMiB   int32
	BootOrder int32
	Template  string // the SHA-256 of what the disk begins as; "" for an empty disk
	Label     string // what the client calls the disk; "" for its name
	Bus       string // by which the guest reaches the disk; "" is VirtIO
}

// Buses of disks. SATA is for guests without a driver for virtio.
const (
	VirtIO = "virtio"
	SATA   = "sata"
)

// Check refuses disks that no host can have. A size of 0 is not given yet.
func Check(disks []Disk) error {
	if len(disks) > maxDisks {
		return fault.Invalid.With("at most %d", maxDisks).On("disks")
	}
	for i, d := range disks {
		if err := CheckLabel(d.Label, fmt.Sprintf("disks[%d].name", i)); err != nil {
			return err
		}
		if err := CheckSize(d.SizeMiB, "hdd_mib"); err != nil {
			return err
		}
	}
	return nil
}

// CheckRoom refuses a further disk of a host that has n.
func CheckRoom(n int) error {
	if n >= maxDisks {
		return fault.Invalid.With("the host has %d disks, which is the most", n).On("disk")
	}
	return nil
}

// CheckLabel refuses what no client may call a disk. field is where the request says it.
func CheckLabel(label, field string) error {
	if !labelForm.MatchString(label) || label != "" && strings.Trim(label, " ") == "" {
		return fault.Invalid.With("at most 63 letters, digits, dots, dashes, underscores or spaces, not spaces alone").On(field)
	}
	return nil
}

// CheckSize refuses a size that no disk has; 0 is not given. field is where the request says it.
func CheckSize(mib int32, field string) error {
	if mib < 0 || mib > maxMiB {
		return fault.Invalid.With("%d is not between %d and %d", mib, 1, maxMiB).On(field)
	}
	return nil
}

// labelForm is the form of a disk's label, which may be empty.
var labelForm = regexp.MustCompile(`^[A-Za-z0-9 ._-]{0,63}$`)

// Arrange puts disks into their boot order. Either all disks have a number, each its own, or none has one.
func Arrange(disks []Disk) error {
	numbered := slices.ContainsFunc(disks, func(d Disk) bool { return d.BootOrder != 0 })
	seen := map[int32]bool{}
	for i, d := range disks {
		if numbered && (!IsPlace(d.BootOrder) || seen[d.BootOrder]) {
			return fault.Invalid.With("a number of its own from 1 to %d for each disk, or none", MaxPlace).On(fmt.Sprintf("disks[%d].boot_order", i))
		}
		seen[d.BootOrder] = true
	}
	slices.SortStableFunc(disks, func(a, b Disk) int { return cmp.Compare(a.BootOrder, b.BootOrder) })
	return nil
}

// IsPlace reports whether a disk can have this number in the boot order of a host.
func IsPlace(n int32) bool { return n > 0 && n <= MaxPlace }

// Fill completes the disks of a host, which has at least one. The first one begins as a template, and may be given its
// size later.
func Fill(disks []Disk) ([]Disk, error) {
	if len(disks) == 0 {
		disks = []Disk{{}}
	}
	for i := range disks {
		if i > 0 && disks[i].SizeMiB == 0 {
			return nil, fault.Invalid.With("number %d has no size_mib", i+1).On("disks")
		}
		// Names of files follow from the position: what the client calls a disk is never a path.
		disks[i].Name = fmt.Sprintf("disk%d", i)
		if disks[i].BootOrder == 0 {
			disks[i].BootOrder = clamp.Int32(i + 1)
		}
	}
	return disks, nil
}

// Total returns the size of all disks in MiB.
func Total(disks []Disk) (sum int64) {
	for _, d := range disks {
		sum += int64(d.SizeMiB)
	}
	return sum
}
