// Package rescue starts a host with a rescue system in front of its own disks, and back.
package rescue

import (
	"encoding/json"
	"fmt"
	"slices"

	"google.golang.org/grpc/codes"

	"slipway.dev/pkg/fault"
	"slipway.dev/services/vm/internal/disk"
	"slipway.dev/services/vm/internal/machine"
)

var (
	errNoSystem = fault.New(codes.FailedPrecondition, "NO_RESCUE_SYSTEM", "the node of the host holds no rescue system")
	errAlready  = fault.New(codes.FailedPrecondition, "RESCUE_MODE", "the host is in this mode already")
)

// system is what a node has for rescues, and how much memory the host has. SHA256 "" is none.
type system struct {
	SHA256  string
	MinRAM  int32
	MinDisk int32
	RAM     int32
}

// check refuses a host that could not run the system.
func (s *system) check() error {
	switch {
	case s.SHA256 == "":
		return errNoSystem.With("the node of the host holds no OS that is named rescue or tiny").On("rescue_mode")
	case s.RAM < s.MinRAM:
		return errNoSystem.With("the rescue system needs %d MiB of memory, the host has %d", s.MinRAM, s.RAM).On("rescue_mode")
	}
	return nil
}

// args are the arguments of the jobs. What the rescue system is, is settled when it is asked for.
type args struct {
	machine.Args
	Template string `json:"template,omitempty"`
	SizeMiB  int32  `json:"size_mib,omitempty"`
}

// diskOf returns the name of the disk that a job makes. No disk ever had it.
func diskOf(job int32) string { return fmt.Sprintf("rescue-%d", job) }

// into puts a rescue system before the disks of a machine.
func into(m *machine.Machine, job int32, raw json.RawMessage) error {
	var a args
	if err := json.Unmarshal(raw, &a); err != nil {
		return err
	}
	if m.CD != "" {
		return machine.ErrISO.With("the host has an ISO image mounted: finish that first")
	}
	if m.Rescue {
		return errAlready.With("the host is in rescue mode already")
	}
	m.Fresh = diskOf(job)
	m.Disks = slices.Insert(slices.Clone(m.Disks), 0, disk.Disk{Name: m.Fresh, SizeMiB: a.SizeMiB, Template: a.Template})
	return nil
}

// out leaves a machine its own disks.
func out(m *machine.Machine) error {
	if !m.Rescue {
		return errAlready.With("the host is not in rescue mode")
	}
	m.Rescue, m.Disks = false, m.Disks[1:]
	return nil
}
