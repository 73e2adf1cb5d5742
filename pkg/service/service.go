// Package service is the chassis of a service: what every service with a database does at its start and while it runs. A
// service is a Spec and its domain.
package service

import (
	"context"
	"fmt"

	outboxpb "slipway.dev/proto/outbox/v1"

	"slipway.dev/pkg/fsck"
	"slipway.dev/pkg/idem"
	"slipway.dev/pkg/identity"
	"slipway.dev/pkg/jobs"
	"slipway.dev/pkg/lead"
	"slipway.dev/pkg/obs"
	"slipway.dev/pkg/outbox"
	"slipway.dev/pkg/query"
	"slipway.dev/pkg/rpc"
	"slipway.dev/pkg/run"
	"slipway.dev/pkg/unit"
)

// Service is a service of this process, ready to run.
type Service struct {
	spec     Spec
	kit      *Kit
	parts    Parts
	keeper   *idem.Keeper
	verifier *identity.Verifier
}

// New brings the schema up to date, has the spec build its domain, and registers the rpcs of the chassis. Nothing runs yet.
// Several processes may do so at the same time. While the bus is away the service starts: its events wait in the outbox.
func New(ctx context.Context, spec Spec, d Deps) (*Service, error) {
	for _, name := range spec.Calls {
		if d.Peers[name] == nil {
			return nil, fmt.Errorf("%s: needs a connection to %s", spec.Name, name)
		}
	}
	recall(ctx, spec.Name, d)
	if err := spec.Migrate(ctx, d.Pool); err != nil {
		return nil, fmt.Errorf("%s: %w", spec.Name, err)
	}
	if err := d.Bus.EnsureStream(ctx, spec.Name); err != nil {
		d.Log.Warn("the bus is away, events wait in the outbox", "err", err) // the relay makes the stream as well
	}
	s := &Service{spec: spec, keeper: idem.New(d.Pool)}
	s.verifier = identity.NewVerifier(s.keys)
	s.kit = s.newKit(d)
	var err error
	if s.parts, err = spec.Build(ctx, s.kit); err != nil {
		return nil, fmt.Errorf("%s: %w", spec.Name, err)
	}
	if s.parts.Keys == nil && d.Peers["auth"] == nil {
		return nil, fmt.Errorf("%s: needs a connection to auth", spec.Name)
	}
	fsck.Register(s.kit.Server, s.checks()...)
	s.registerParked()
	outboxpb.RegisterOutboxServiceServer(s.kit.Server, sender{Service: s})
	return s, s.kit.Server.Check()
}

func (s *Service) newKit(d Deps) *Kit {
	k := &Kit{Deps: d, Relay: outbox.NewRelay(d.Pool, d.Bus, d.Log), Server: rpc.NewServer(d.Log, s.verifier)}
	k.DB = &unit.DB{
		Pool: d.Pool, Lists: query.NewReader(d.Pool, s.spec.Lists), Audit: s.spec.Audit, PokeRelay: k.Relay.Poke,
	}
	if k.DB.Audit == nil {
		k.DB.Audit = unit.AuditEvents(s.spec.Name + ".v3.audit.recorded")
	}
	if s.spec.Jobs != nil {
		cfg := *s.spec.Jobs
		cfg.Log = d.Log
		k.Jobs = jobs.NewRunner(d.Pool, cfg)
		k.DB.PokeJobs = k.Jobs.Poke
	}
	k.Server.Audit(s.spec.Name, k.DB.Record)
	k.Server.Keep(s.keeper)
	return k
}

// checks returns the consistency checks of the chassis and of this service.
func (s *Service) checks() []fsck.Check {
	list := []fsck.Check{fsck.Outbox(s.kit.Pool, s.spec.Name), fsck.Parked(s.kit.Pool)}
	if s.kit.Jobs != nil {
		list = append(list, fsck.Jobs(s.kit.Pool))
	}
	return append(list, s.parts.Checks...)
}

// Server answers the rpcs of the service.
func (s *Service) Server() *rpc.Server { return s.kit.Server }

// Takes returns the services whose events this one takes in.
func (s *Service) Takes() (list []string) {
	for _, c := range s.parts.Consumers {
		list = append(list, c.From)
	}
	return list
}

// Observe adds the metrics of the service to o.
func (s *Service) Observe(o *obs.Obs) {
	o.Database(s.spec.Name, s.kit.Pool)
	if s.kit.Jobs != nil {
		o.Jobs(s.spec.Name, s.kit.Pool)
	}
	if s.parts.Observe != nil {
		s.parts.Observe(o)
	}
	s.kit.Server.Observe(o.Call(s.spec.Name))
}

// Run carries out jobs, sends and applies events, applies revocations and does the service's own work, until ctx ends.
func (s *Service) Run(ctx context.Context) error {
	all := []run.Service{s.keeper, run.Func(s.revocations), run.Func(s.lead), run.Func(s.keepTimeline)}
	if s.kit.Jobs != nil {
		all = append(all, s.kit.Jobs)
	}
	for _, loop := range s.parts.Loops {
		all = append(all, loop)
	}
	return run.All(ctx, all...)
}

// lead does the work that is for one process of the service at a time, on one connection.
func (s *Service) lead(ctx context.Context) error {
	duties := append([]lead.Duty{s.kit.Relay.Duty()}, s.parts.Duties...)
	for _, c := range s.parts.Consumers {
		duties = append(duties, s.kit.Bus.Duty(c.bus(), c.take))
	}
	return lead.Run(ctx, s.kit.Pool, s.kit.Log, duties...)
}
