package ipchange

import (
	"context"
	"slices"

	oppb "slipway.dev/proto/op/v1"
	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/pkg/audit"
	"slipway.dev/pkg/crash"
	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/pg"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/vm/internal/address"
	"slipway.dev/services/vm/internal/host"
	"slipway.dev/services/vm/internal/task"
)

// pointNamed is where a request is kept and not yet answered.
var pointNamed = crash.At("vm.ptr.committed")

// AddHostPTR records that the name of an address of a host, given as text, is to change.
func (s *Server) AddHostPTR(ctx context.Context, r *vmpb.AddHostPTRRequest) (*oppb.Operation, error) {
	domain, err := parseName(r.GetDomain())
	if err != nil {
		return nil, err
	}
	return s.rename(ctx, r.GetId(), domain, func(list []address.Address) (address.Address, error) {
		i := slices.IndexFunc(list, func(a address.Address) bool { return a.Addr == r.GetName() })
		if i < 0 {
			return address.Address{}, fault.Invalid.With("host %d has no address %s", r.GetId(), fault.Clip(r.GetName())).On("name")
		}
		return list[i], nil
	})
}

// SetHostPTR records that the name of an address of a host is to change.
func (s *Server) SetHostPTR(ctx context.Context, r *vmpb.SetHostPTRRequest) (*oppb.Operation, error) {
	domain, err := parseName(r.GetDomain())
	if err != nil {
		return nil, err
	}
	return s.rename(ctx, r.GetId(), domain, byID(r.GetPtr()))
}

// RemoveHostPTR records that an address of a host is to have no name.
func (s *Server) RemoveHostPTR(ctx context.Context, r *vmpb.RemoveHostPTRRequest) (*oppb.Operation, error) {
	return s.rename(ctx, r.GetId(), "", byID(r.GetPtr()))
}

// byID chooses an address of a host.
func byID(id int32) func([]address.Address) (address.Address, error) {
	return func(list []address.Address) (address.Address, error) {
		i := slices.IndexFunc(list, func(a address.Address) bool { return a.IPID == id })
		if i < 0 {
			return address.Address{}, pg.Missing("address", id)
		}
		return list[i], nil
	}
}

// parseName reads the name of an address, which is required.
func parseName(text string) (string, error) {
	if text == "" {
		return "", fault.Invalid.With("required, a host name").On("domain")
	}
	return host.ParseDomain(text)
}

// rename records the job that gives the address which choose finds among those of a host the name, "" for none.
func (s *Server) rename(ctx context.Context, id int32, name string, choose func([]address.Address) (address.Address, error)) (*oppb.Operation, error) {
	return host.Operate(ctx, s.db, id, pointNamed, func(tx *unit.Tx, h *host.Host) (*oppb.Operation, error) {
		list, err := address.Of(ctx, tx, id)
		if err != nil {
			return nil, err
		}
		a, err := choose(list)
		if err != nil {
			return nil, err
		}
		if err := task.Admit(ctx, tx, id); err != nil {
			return nil, err
		}
		audit.Of(ctx).Change(map[string]any{"domain": a.Domain, "address": a.Addr}, map[string]any{"domain": name, "address": a.Addr})
		job, err := task.Enqueue(ctx, tx, ptrKind, task.HostKey(id), h.AccountID, 0, ptrArgs{h.UUID.String(), a.IPID, name})
		return task.Operation(a.IPID, job), err
	})
}
