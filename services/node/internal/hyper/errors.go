package hyper

import (
	"google.golang.org/grpc/codes"

	"slipway.dev/pkg/fault"
)

// Faults that a caller of a Driver must be able to distinguish. Everything else is a plain error.
var (
	ErrInvalid      = fault.Invalid
	ErrNotDefined   = fault.New(codes.NotFound, "MACHINE_NOT_DEFINED", "the machine is not defined on this node")
	ErrForeign      = fault.New(codes.FailedPrecondition, "MACHINE_NOT_OURS", "the machine belongs to another stack")
	ErrNoDisk       = fault.New(codes.FailedPrecondition, "DISK_NOT_READY", "a disk of the machine is not there")
	ErrDiskShrinks  = fault.New(codes.FailedPrecondition, "DISK_SHRINKS", "a disk never shrinks")
	ErrDiskInUse    = fault.New(codes.FailedPrecondition, "DISK_IN_USE", "the machine uses the disk")
	ErrNoTemplate   = fault.New(codes.FailedPrecondition, "TEMPLATE_NOT_INSTALLED", "the template is not installed on this node")
	ErrNoNetwork    = fault.New(codes.FailedPrecondition, "NETWORK_NOT_READY", "the network is not there")
	ErrNetworkInUse = fault.New(codes.FailedPrecondition, "NETWORK_IN_USE", "the network has machines plugged in")
	ErrNodeAddress  = fault.New(codes.FailedPrecondition, "NODE_HAS_ADDRESS", "the node itself has the address")
	ErrNodeNetwork  = fault.New(codes.FailedPrecondition, "NETWORK_OF_NODE", "the node is in this network already")
	ErrNoSpace      = fault.New(codes.ResourceExhausted, "STORAGE_FULL", "the node has no room left")
	ErrNoTool       = fault.New(codes.FailedPrecondition, "TOOL_MISSING", "a program that the agent needs is not installed")
	ErrNotAllowed   = fault.New(codes.FailedPrecondition, "PRIVILEGE_MISSING", "the agent lacks a privilege")
	ErrNoAgent      = fault.New(codes.FailedPrecondition, "GUEST_AGENT_SILENT", "the guest agent does not answer")
	ErrGuestRefuses = fault.New(codes.FailedPrecondition, "GUEST_REFUSES", "the guest agent refuses")
	ErrNotRunning   = fault.New(codes.FailedPrecondition, "MACHINE_NOT_RUNNING", "the machine does not run")
	ErrNoConsole    = fault.New(codes.FailedPrecondition, "CONSOLE_MISSING", "the machine has no such console until its next start")
	ErrUnavailable  = fault.New(codes.Unavailable, "HYPERVISOR_UNAVAILABLE", "the hypervisor does not answer")
)
