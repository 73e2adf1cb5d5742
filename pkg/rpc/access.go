package rpc

import (
	"context"
	"fmt"
	"slices"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	accesspb "slipway.dev/proto/access/v1"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/identity"
)

const (
	levelPublic  = accesspb.Level_LEVEL_PUBLIC
	levelUser    = accesspb.Level_LEVEL_USER
	levelAdmin   = accesspb.Level_LEVEL_ADMIN
	levelService = accesspb.Level_LEVEL_SERVICE
)

// ErrNoRule refuses a method without an access rule.
var ErrNoRule = fault.New(codes.PermissionDenied, "PERMISSION_DENIED", "not allowed")

// rule is what one method demands of its caller.
type rule struct {
	level   accesspb.Level
	callers []string
	demand  identity.Demand
	repeat  accesspb.Repeat
}

// rulesOf reads the rules of a service's methods from its descriptor, by full method name. Methods without a rule are
// left out and named in the error.
func rulesOf(service string) (map[string]rule, error) {
	d, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(service))
	if err != nil {
		return nil, fmt.Errorf("rpc: service %s has no descriptor: %w", service, err)
	}
	methods := d.(protoreflect.ServiceDescriptor).Methods()
	rules := map[string]rule{}
	var missing, scopeless []string
	for i := range methods.Len() {
		m := methods.Get(i)
		opts, _ := m.Options().(*descriptorpb.MethodOptions)
		a, _ := proto.GetExtension(opts, accesspb.E_Access).(*accesspb.Access)
		if a.GetLevel() == accesspb.Level_LEVEL_UNSPECIFIED {
			missing = append(missing, string(m.Name()))
			continue
		}
		if a.GetScope() == "" && (a.GetLevel() == levelUser || a.GetLevel() == levelAdmin) {
			scopeless = append(scopeless, string(m.Name()))
			continue
		}
		rules[fmt.Sprintf("/%s/%s", service, m.Name())] = rule{
			level: a.GetLevel(), callers: a.GetCallers(), repeat: a.GetRepeat(),
			demand: identity.Demand{Scope: a.GetScope(), Admin: a.GetLevel() == levelAdmin, Read: a.GetRead()},
		}
	}
	if missing != nil {
		return rules, fmt.Errorf("rpc: methods of %s declare no access: %v", service, missing)
	}
	if scopeless != nil {
		return rules, fmt.Errorf("rpc: methods of %s declare no scope: %v", service, scopeless)
	}
	return rules, nil
}

// allow returns the context for the handler when the caller of ctx satisfies the rule of method: the identity in it has the
// reach that the caller has there.
func (s *Server) allow(ctx context.Context, method string) (context.Context, error) {
	r, ok := s.rules[method]
	if !ok {
		return nil, ErrNoRule
	}
	switch r.level {
	case levelPublic:
		return ctx, nil
	case levelService:
		if !slices.Contains(r.callers, CallerOf(ctx)) {
			return nil, fault.Denied
		}
		return ctx, nil
	}
	id, ok := identity.From(ctx)
	if !ok {
		return nil, fault.Unauthenticated
	}
	narrowed, ok := id.For(r.demand)
	if ok {
		return identity.With(ctx, narrowed), nil
	}
	switch {
	case id.Limited:
		return nil, fault.Denied.With("this credential is not for %s", r.demand.Scope)
	case id.ReadOnly():
		return nil, fault.Denied.With("a read-only administrator may not change anything")
	case r.demand.Admin:
		return nil, fault.Denied.With("this needs an administrator")
	default:
		return nil, fault.Denied.With("no role of yours is for %s", r.demand.Scope)
	}
}
