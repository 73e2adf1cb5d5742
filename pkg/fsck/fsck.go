// Package fsck is the consistency check. A service registers checks of its own bookkeeping, such as jobs without a worker and
// events that were not sent or not applied; a Checker runs the checks of all services. Checks only read.
package fsck

import (
	"context"
	"errors"

	"google.golang.org/grpc"

	fsckpb "slipway.dev/proto/fsck/v1"
)

// Finding is one inconsistency.
type Finding struct {
	Kind   string // such as JobOverdue; a service has kinds of its own besides those of this package
	Object string // such as "job 100012"
	Detail string // for people
}

// Kinds of findings for every service.
const (
	JobOverdue      = "job_overdue"      // a job is past its time and no worker runs it
	EventUnsent     = "event_unsent"     // events wait in the outbox for too long
	EventParked     = "event_parked"     // an event could not be applied
	ReportDifferent = "report_different" // a service reports a kind that this program does not know
)

var kinds = []string{JobOverdue, EventUnsent, EventParked, ReportDifferent}

// Check returns the findings of one sort.
type Check func(ctx context.Context) ([]Finding, error)

// All runs checks one after the other and returns all findings.
func All(ctx context.Context, checks []Check) ([]Finding, error) {
	var all []Finding
	var errs []error
	for _, c := range checks {
		list, err := c(ctx)
		all, errs = append(all, list...), append(errs, err)
	}
	return all, errors.Join(errs...)
}

// Register serves checks to the installation's Checker.
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

// Proto returns the finding as a message.
func (f Finding) Proto() *fsckpb.Finding {
	return &fsckpb.Finding{Kind: f.Kind, Object: f.Object, Detail: f.Detail}
}
