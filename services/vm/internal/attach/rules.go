// Package attach gives disks to hosts and takes them away, while the guests run, and orders the disks of a host.
package attach

import (
	"cmp"
	"fmt"
	"slices"

	"google.golang.org/grpc/codes"

	"slipway.dev/pkg/clamp"
	"slipway.dev/pkg/fault"
	"slipway.dev/services/vm/internal/disk"
	"slipway.dev/services/vm/internal/machine"
)

// Faults of what cannot be done with a disk and a host.
var (
	errAttached  = fault.New(codes.FailedPrecondition, "DISK_ATTACHED", "the disk belongs to another host")
	errDetached  = fault.New(codes.FailedPrecondition, "DISK_DETACHED", "the disk does not belong to the host")
	errElsewhere = fault.New(codes.FailedPrecondition, "DISK_ELSEWHERE", "the disk is on another node than the host")
	errMain      = fault.New(codes.FailedPrecondition, "DISK_MAIN", "the disk is the main disk of the host")
	errHeld      = fault.New(codes.FailedPrecondition, "DISK_HELD", "the guest does not release the disk")
)

// checkBus refuses a bus by which no disk is attached.
func checkBus(name string) error {
	if name != "" && name != disk.VirtIO && name != disk.SATA {
		return fault.Invalid.With("%q is neither %s nor %s", fault.Clip(name), disk.VirtIO, disk.SATA).On("bus")
	}
	return nil
}

// args is the argument of the jobs that attach and detach.
type args struct {
	machine.Args
	Disk int32  `json:"disk"`
	Main bool   `json:"main,omitempty"` // the disk becomes the main one
	Bus  string `json:"bus"`
}

// orderArgs is the argument of the job that orders the disks of a host.
type orderArgs struct {
	machine.Args
	Numbers map[int32]int32 `json:"numbers,omitempty"` // places by the ids of all disks
	Main    int32           `json:"main,omitempty"`    // or the disk that becomes the first
	Disk    int32           `json:"disk,omitempty"`    // that gets another bus; 0 for none
	Bus     string          `json:"bus,omitempty"`
}

// into puts a disk behind the disks of a machine, or before them.
func into(m *machine.Machine, d disk.Disk, first bool) {
	m.Disks = append(slices.Clone(m.Disks), d)
	if first {
		m.Disks = append(m.Disks[len(m.Disks)-1:], m.Disks[:len(m.Disks)-1]...)
	}
}

// out takes a disk from a machine. The main disk stays.
func out(m *machine.Machine, id int32) error {
	i := slices.IndexFunc(m.Disks, func(d disk.Disk) bool { return d.ID == id })
	first := 0
	if m.Rescue {
		first = 1
	}
	switch {
	case i < 0:
		return errDetached.With("the host has no disk %d any more", id)
	case i <= first:
		return errMain.With("disk %d is the main disk of the host now", id)
	}
	m.Disks = slices.Delete(slices.Clone(m.Disks), i, i+1)
	return nil
}

// places returns the places of the disks of a machine after the order of a: those of the request, or the present order, with the
// disk that becomes the main one before all others.
func (a orderArgs) places(list []disk.Disk) (map[int32]int32, error) {
	if a.Numbers != nil {
		return a.Numbers, checkOrder(list, a.Numbers)
	}
	if a.Main == 0 {
		return present(list, a.Disk)
	}
	places := map[int32]int32{a.Main: 1}
	for _, d := range list {
		if d.ID != a.Main {
			places[d.ID] = clamp.Int32(len(places) + 1)
		}
	}
	if len(places) != len(list) {
		return nil, errDetached.With("the host has no disk %d any more", a.Main)
	}
	return places, nil
}

// present returns the places of disks, of which id must be one.
func present(list []disk.Disk, id int32) (map[int32]int32, error) {
	places := map[int32]int32{}
	for _, d := range list {
		places[d.ID] = d.BootOrder
	}
	if places[id] == 0 {
		return nil, errDetached.With("the host has no disk %d any more", id)
	}
	return places, nil
}

// checkOrder refuses places that are not for the disks of a host, all of them and no others.
func checkOrder(list []disk.Disk, places map[int32]int32) error {
	for _, d := range list {
		if places[d.ID] == 0 {
			return fault.Invalid.With("disk %d of the host is missing", d.ID).On("disks")
		}
	}
	if len(places) != len(list) {
		return fault.Invalid.With("the host has %d disks", len(list)).On("disks")
	}
	return nil
}

// ordered returns disks by their places, one of them with another bus.
func (a orderArgs) ordered(list []disk.Disk, places map[int32]int32) []disk.Disk {
	list = slices.Clone(list)
	for i := range list {
		if list[i].ID == a.Disk {
			list[i].Bus = a.Bus
		}
	}
	slices.SortFunc(list, func(a, b disk.Disk) int { return cmp.Compare(places[a.ID], places[b.ID]) })
	return list
}

// place is where a request puts a disk.
type place struct{ Disk, Number int32 }

// numbers returns the places of a request, each disk and each number once.
func numbers(list []place) (map[int32]int32, error) {
	if len(list) == 0 {
		return nil, fault.Invalid.With("required, the disks of the host with their places").On("disks")
	}
	places, taken := map[int32]int32{}, map[int32]bool{}
	for i, p := range list {
		switch {
		case p.Disk <= 0 || places[p.Disk] != 0:
			return nil, fault.Invalid.With("the id of a disk, once").On(fmt.Sprintf("disks[%d].id", i))
		case !disk.IsPlace(p.Number) || taken[p.Number]:
			return nil, fault.Invalid.With("a number of its own from 1 to %d for each disk", disk.MaxPlace).On(fmt.Sprintf("disks[%d].boot_order", i))
		}
		places[p.Disk], taken[p.Number] = p.Number, true
	}
	return places, nil
}
