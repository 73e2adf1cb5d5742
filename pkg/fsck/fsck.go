// Package fsck is how a service looks into its own bookkeeping: jobs whose worker is gone, events that were not sent or not
// taken in. It only reads.
package fsck

import (
	"context"
	"errors"

	"google.golang.org/grpc"

	fsckpb "slipway.dev/proto/fsck/v1"
)

// Finding is one thing that is not as it should be.
type Finding struct {
	Kind   string // one of Kinds
	Object string // such as "job 100012"
	Detail string // for people
}

// Kinds of findings.
const (
	MachineMissing  = "machine_missing"  // a host has no machine on its node
	MachineOrphan   = "machine_orphan"   // a machine, or a part of one, is no host's
	MachineTwice    = "machine_twice"    // a machine is on more than one node, or on another than its host's
	DiskMissing     = "disk_missing"     // a host's disk or seed is not on its node
	DiskOrphan      = "disk_orphan"      // a disk is there that the host does not have
	FilePartial     = "file_partial"     // a command that did not end left a file
	AddressMissing  = "address_missing"  // a host uses an address that it does not hold
	AddressOrphan   = "address_orphan"   // an address is held by no host, or by one that does not use it
	AddressOverdue  = "address_overdue"  // a reservation or quarantine is over and the address is not free
	CounterWrong    = "counter_wrong"    // a counter differs from what it counts
	HostStuck       = "host_stuck"       // a host is between two states and no job is under way
	JobOverdue      = "job_overdue"      // a job is past its time and nobody works on it
	EventUnsent     = "event_unsent"     // events wait in the outbox for too long
	EventParked     = "event_parked"     // an event could not be taken in
	ReportDifferent = "report_different" // a service reports a kind that this program does not know
)

// Kinds lists all kinds.
var Kinds = []string{
	MachineMissing, MachineOrphan, MachineTwice, DiskMissing, DiskOrphan, FilePartial, AddressMissing, AddressOrphan,
	AddressOverdue, CounterWrong, HostStuck, JobOverdue, EventUnsent, EventParked, ReportDifferent,
}

// Check looks at one thing.
type Check func(ctx context.Context) ([]Finding, error)

// All runs checks one after the other.
func All(ctx context.Context, checks []Check) ([]Finding, error) {
	var all []Finding
	var errs []error
	for _, c := range checks {
		list, err := c(ctx)
		all, errs = append(all, list...), append(errs, err)
	}
	return all, errors.Join(errs...)
}

// Register lets the auditor of the installation run the checks of this service.
func Register(r grpc.ServiceRegistrar, checks ...Check) {
	fsckpb.RegisterCheckServiceServer(r, server{checks: checks})
}

type server struct {
	fsckpb.UnimplementedCheckServiceServer
	checks []Check
}

// Inspect runs the checks.
func (s server) Inspect(ctx context.Context, _ *fsckpb.InspectRequest) (*fsckpb.InspectResponse, error) {
	list, err := All(ctx, s.checks)
	if err != nil {
		return nil, err
	}
	resp := &fsckpb.InspectResponse{}
	for _, f := range list {
		resp.Findings = append(resp.Findings, f.Proto())
	}
	return resp, nil
}

// Proto is the finding as it is sent.
func (f Finding) Proto() *fsckpb.Finding {
	return &fsckpb.Finding{Kind: f.Kind, Object: f.Object, Detail: f.Detail}
}

// From is a finding that another service sent.
func From(p *fsckpb.Finding) Finding {
	return Finding{Kind: p.GetKind(), Object: p.GetObject(), Detail: p.GetDetail()}
}
