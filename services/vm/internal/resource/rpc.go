package resource

import (
	"context"

	oppb "slipway.dev/proto/op/v1"
	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/pkg/audit"
	"slipway.dev/pkg/crash"
	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/identity"
	"slipway.dev/pkg/jobs"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/vm/internal/host"
	"slipway.dev/services/vm/internal/listing"
	"slipway.dev/services/vm/internal/machine"
	"slipway.dev/services/vm/internal/task"
)

// pointAccepted is where a change is kept and not yet answered.
var pointAccepted = crash.At("vm.resource.committed")

// Server answers the part of vm.v3.HostService that changes the resources of hosts.
type Server struct{ db *unit.DB }

// NewServer returns a Server.
func NewServer(db *unit.DB) *Server { return &Server{db} }

// ChangeHostResources records a change with its job, and takes the room that the host needs for it.
func (s *Server) ChangeHostResources(ctx context.Context, r *vmpb.ChangeHostResourcesRequest) (op *oppb.Operation, err error) {
	c, err := changeOf(r)
	if err != nil {
		return nil, err
	}
	err = s.db.InTx(ctx, func(tx *unit.Tx) error {
		op, err = s.record(ctx, tx, r, *c)
		return err
	})
	if err != nil {
		return nil, err
	}
	pointAccepted.Hit()
	return op, nil
}

// changeOf reads the request, and refuses one that changes nothing.
func changeOf(r *vmpb.ChangeHostResourcesRequest) (*Change, error) {
	c := &Change{
		CPUs: r.GetCpuNumber(), RAM: r.GetRamMib(), Figures: map[string]int32{},
		CPUMode: r.CpuMode, CPUModel: r.CpuCustomModel, Nesting: r.Nesting, HotPlug: r.HotPlug, LiveResize: r.LiveResize,
	}
	for field, n := range map[string]*int32{
		"cpu_weight": r.CpuWeight, "io_weight": r.IoWeight, "net_bandwidth_mbitps": r.NetBandwidthMbitps,
		"net_in_mbitps": r.NetInMbitps, "net_out_mbitps": r.NetOutMbitps, "io_read_mbitps": r.IoReadMbitps,
		"io_write_mbitps": r.IoWriteMbitps, "io_read_iops": r.IoReadIops, "io_write_iops": r.IoWriteIops,
	} {
		if n != nil {
			c.Figures[field] = *n
		}
	}
	rules := host.RulesOf(r.GetFirewallRules())
	switch {
	case len(rules) > 0 && r.GetFirewallRulesNone():
		return nil, fault.Invalid.With("there are firewall_rules").On("firewall_rules_none")
	case len(rules) > 0 || r.GetFirewallRulesNone():
		c.Firewall = &rules
	}
	switch r.GetDefer().GetAction() {
	case "":
	case hostStop:
		c.Deferred = true
	default:
		return nil, fault.Invalid.With("%q is not %s", fault.Clip(r.GetDefer().GetAction()), hostStop).On("defer.action")
	}
	if c.CPUs == 0 && c.RAM == 0 && !c.limiting() && r.AntiSpoofing == nil {
		return nil, fault.Invalid.With("the request changes nothing")
	}
	return c, nil
}

// record stores the change and its job.
func (s *Server) record(ctx context.Context, tx *unit.Tx, r *vmpb.ChangeHostResourcesRequest, c Change) (*oppb.Operation, error) {
	h, err := host.Lock(ctx, tx, r.GetId(), listing.Owner(ctx))
	if err != nil {
		return nil, err
	}
	f, err := read(ctx, tx, h)
	if err != nil {
		return nil, err
	}
	caller, _ := identity.From(ctx)
	after, err := c.check(h, f, caller.Admin())
	if err != nil {
		return nil, err
	}
	if c.Firewall != nil {
		rules := append([]machine.Rule{}, after.Firewall...) // as rules are stored; none is not null in the job's argument
		c.Firewall = &rules
	}
	if err := task.Admit(ctx, tx, h.ID); err != nil {
		return nil, err
	}
	before := auditable(h)
	// What a user does not want of it, an administrator decides.
	if r.AntiSpoofing != nil && (r.GetAntiSpoofing() || caller.Admin()) {
		h.Limited = r.AntiSpoofing
		if err := host.Save(ctx, tx, h); err != nil {
			return nil, err
		}
	}
	a := args{Args: h.Args(false), Change: c, Before: waiting{h.NewCPUs, h.NewRAM}}
	job, err := task.Enqueue(ctx, tx, kind, task.HostKey(h.ID), h.AccountID, h.NodeID, a)
	if err != nil {
		return nil, err
	}
	op := task.Operation(h.ID, job)
	if err := tx.Answer(ctx, op); err != nil {
		return nil, err
	}
	audit.Of(ctx).Change(before, wanted(h, c))
	return op, reserve(ctx, tx, h, job, c)
}

// reserve takes the room for the size that the change asks for, if it asks for one.
func reserve(ctx context.Context, tx *unit.Tx, h *host.Host, job jobs.Job, c Change) error {
	if c.CPUs == 0 && c.RAM == 0 {
		return nil
	}
	return host.Reserve(ctx, tx, h, job.ID, c.size())
}

// auditable returns what a change may change of a host.
func auditable(h *host.Host) map[string]any {
	m := map[string]any{"cpu_number": h.CPUs, "ram_mib": h.RAM, "limits": next(h)}
	if h.Limited != nil {
		m["anti_spoofing"] = *h.Limited
	}
	return m
}

// wanted returns what a change asks for, as auditable does what there is.
func wanted(h *host.Host, c Change) map[string]any {
	m := auditable(h)
	m["limits"] = c.apply(next(h))
	if c.CPUs != 0 {
		m["cpu_number"] = c.CPUs
	}
	if c.RAM != 0 {
		m["ram_mib"] = c.RAM
	}
	return m
}
