// Package address holds addresses: which owner has which one, claims of addresses, and their history.
package address

import (
	"net/netip"

	"google.golang.org/grpc/codes"

	"slipway.dev/pkg/fault"
)

// Faults of addresses.
var (
	errNoFree      = fault.New(codes.ResourceExhausted, "NO_FREE_ADDRESS", "no free address")
	errLapsed      = fault.New(codes.FailedPrecondition, "RESERVATION_LAPSED", "the reservation has expired")
	errTaken       = fault.New(codes.FailedPrecondition, "WISH_TAKEN", "the address is taken")
	errQuarantined = fault.New(codes.FailedPrecondition, "QUARANTINED", "the address is in quarantine")
	errNotOwner    = fault.New(codes.FailedPrecondition, "NOT_THE_OWNER", "the address now has another owner")
	errInUse       = fault.New(codes.FailedPrecondition, "IN_USE", "the address is in use")
)

// States of an address.
const (
	stateFree        = "free"
	stateReserved    = "reserved"
	stateAssigned    = "assigned"
	stateQuarantined = "quarantined"
	stateGateway     = "gateway"
	stateNetwork     = "network"
	stateBroadcast   = "broadcast"
)

// row is an address and what a machine must know to use it.
type row struct {
	ID         int32
	IP         netip.Addr
	State      string
	PoolID     int32
	NetworkID  int32
	CIDR       netip.Prefix
	Gateway    netip.Addr
	DNS        []netip.Addr
	VLAN       *int32
	Domain     string
	Note       string
	Owner      string
	Interface  int32
	Position   int32
	Generation int32
	PTRSerial  int32
}

// heldAddress is an address as its owner knows it.
type heldAddress struct{ ID, Generation int32 }
