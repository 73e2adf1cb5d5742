// Package disk keeps the disks of hosts.
package disk

import (
	"fmt"

	"slipway.dev/pkg/clamp"
	"slipway.dev/pkg/fault"
)

// Limits of the disks of one host.
const (
	maxMiB   = 64 << 20
	maxDisks = 8
)

// Disk is a disk of a host.
type Disk struct {
	ID        int32
	Name      string
	SizeMiB   int32
	BootOrder int32
	Template  string // the SHA-256 of what the disk begins as; "" for an empty disk
}

// Check refuses disks that no host can have. A size of 0 is not given yet.
func Check(disks []Disk) error {
	if len(disks) > maxDisks {
		return fault.Invalid.With("at most %d", maxDisks).On("disks")
	}
	for _, d := range disks {
		if d.SizeMiB < 0 || d.SizeMiB > maxMiB {
			return fault.Invalid.With("%d is not between %d and %d", d.SizeMiB, 1, maxMiB).On("hdd_mib")
		}
	}
	return nil
}

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
		disks[i].Name, disks[i].BootOrder = fmt.Sprintf("disk%d", i), clamp.Int32(i+1)
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
