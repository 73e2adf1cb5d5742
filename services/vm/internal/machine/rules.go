// Package machine makes the machine of a host on its node: the steps that jobs of hosts consist of.
package machine

import (
	"fmt"
	"net"
	"slices"

	"github.com/google/uuid"
	"google.golang.org/grpc/codes"

	"slipway.dev/pkg/fault"
	"slipway.dev/services/vm/internal/address"
	"slipway.dev/services/vm/internal/disk"
)

// Args is the argument of all jobs of a host. UUID stands beside the id because a delete must go on when the row is
// gone.
type Args struct {
	ID    int32  `json:"id"`
	UUID  string `json:"uuid"`
	Force bool   `json:"force,omitempty"`
	// Keys of the reservations that a create or a change of addresses confirms.
	Keys []string `json:"keys,omitempty"`
}

// Check refuses what no handler ever enqueued.
func (a Args) Check() error {
	id, err := uuid.Parse(a.UUID)
	if err == nil && (id == uuid.Nil || a.ID <= 0) {
		err = fmt.Errorf("host %d with UUID %s", a.ID, id)
	}
	return err
}

// Faults of a host whose guest starts from something else than its disks.
var (
	ErrRescue = fault.New(codes.FailedPrecondition, "RESCUE_MODE", "the host is in rescue mode")
	ErrISO    = fault.New(codes.FailedPrecondition, "ISO_MOUNTED", "the host has an ISO image mounted")
)

// Machine is what an agent must know of a host.
type Machine struct {
	ID           int32
	UUID         uuid.UUID
	Name         string
	Hostname     string
	Domain       string
	CPUs         int32
	RAM          int32 // MiB
	MAC          net.HardwareAddr
	AntiSpoofing bool // since the last start
	Limited      bool // AntiSpoofing from the next start on
	PasswordHash string
	Serial       int32 // of a password that the guest takes at its next start; 0 for none
	SSHKeys      []string
	Disks        []disk.Disk
	Addresses    []address.Address // in all states
	Node         uuid.UUID
	Endpoint     string // of the agent
	Bridge       string
	DNS          []string // for networks that have none of their own
	Wanted       bool     // the host is to run
	Fresh        string   // the disk that the job makes; "" for none
	CD           string   // in the drive, from which the guest starts; "" for none
	Rescue       bool     // the first disk is that of a rescue system
	Limits
	NewCPUs   *int32  // from the next start on; nil: CPUs
	NewRAM    *int32  // from the next start on; nil: RAM
	NewLimits *Limits // from the next start on; nil: Limits
}

// plan is a machine as it will be when the job is done.
type plan struct {
	*Machine
	Addresses []address.Address // those that the host has then
	before    []address.Address // those that it has until then
	ran       bool              // the machine ran before it was to be started
	was       *Machine          // the machine until then
	answered  bool              // the guest agent did what the job asked
}

// atStart is the machine with what waits for its next start.
func (m Machine) atStart() *Machine {
	if m.NewCPUs != nil {
		m.CPUs = *m.NewCPUs
	}
	if m.NewRAM != nil {
		m.RAM = *m.NewRAM
	}
	if m.NewLimits != nil {
		m.Limits = *m.NewLimits
	}
	m.AntiSpoofing = m.Limited
	return &m
}

// nameServers returns those of the addresses' networks, in the order of the addresses. A network that has none
// contributes the cluster's or the node's. At least one of them is of a family that the machine has.
func (p *plan) nameServers() []string {
	var list []string
	add := func(servers []string) {
		for _, d := range servers {
			if !slices.Contains(list, d) {
				list = append(list, d)
			}
		}
	}
	for _, a := range p.Addresses {
		if len(a.DNS) > 0 {
			add(a.DNS)
		} else {
			add(p.DNS)
		}
	}
	if len(p.Addresses) == 0 {
		add(p.DNS)
	}
	return reachable(list, p.Addresses)
}
