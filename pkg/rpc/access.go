package rpc

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	accesspb "slipway.dev/proto/access/v1"

	"slipway.dev/pkg/access"
	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/identity"
)

const (
	levelPublic  = accesspb.Level_LEVEL_PUBLIC
	levelService = accesspb.Level_LEVEL_SERVICE
)

// ErrNoRule is the fault of a call of a method without an access rule.
var ErrNoRule = fault.New(codes.PermissionDenied, "PERMISSION_DENIED", "not allowed")

// rulesOf reads the rules of a service's methods from its descriptor, by full method name. Methods without a rule, or
// without a scope where one is needed, are left out and named in the error.
func rulesOf(service string) (map[string]access.Method, error) {
	d, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(service))
	if err != nil {
		return nil, fmt.Errorf("rpc: service %s has no descriptor: %w", service, err)
	}
	methods, silent := access.Methods(d.(protoreflect.ServiceDescriptor))
	rules := map[string]access.Method{}
	for _, m := range methods {
		rules[m.Name] = m
	}
	if silent != nil {
		return rules, fmt.Errorf("rpc: methods of %s do not declare access and scope: %v", service, silent)
	}
	return rules, nil
}

// ErrAudience refuses an identity that was made for another service.
var ErrAudience = fault.Denied.With("the identity is for another service")

// checkAudience returns ErrAudience if the identity is not for the service of the method. A service passes the identity of a
// request on to methods that are for this service, and uses the identity of an account for which it acts.
func checkAudience(id identity.Identity, r access.Method, method, caller string) error {
	service, _, _ := strings.Cut(strings.TrimPrefix(method, "/"), ".")
	passedOn := id.Audience == caller && (id.Actor == caller || r.Level == levelService && slices.Contains(r.Callers, caller))
	if id.Audience == "" || id.Audience == service || passedOn || strings.HasPrefix(method, healthMethods) {
		return nil
	}
	return ErrAudience
}

// forClients reports whether the caller of ctx makes calls for clients: the gateway, or the installation itself in its own process.
func forClients(ctx context.Context) bool {
	c := callerIn(ctx)
	return c.service == usersCaller || c.local && c.service == ownCaller
}

// allow returns the context for the handler if the caller of ctx satisfies the rule of method. The identity in that context has
// the reach that the caller has in the method.
func (s *Server) allow(ctx context.Context, method string) (context.Context, error) {
	r, ok := s.rules[method]
	if !ok {
		return nil, ErrNoRule
	}
	switch r.Level {
	case levelPublic:
		if !forClients(ctx) && !strings.HasPrefix(method, healthMethods) {
			return nil, fault.Denied
		}
		return ctx, nil
	case levelService:
		if !slices.Contains(r.Callers, CallerOf(ctx)) {
			return nil, fault.Denied
		}
		return ctx, nil
	}
	id, ok := identity.From(ctx)
	if !ok {
		return nil, fault.Unauthenticated
	}
	if id.Actor == "" && !forClients(ctx) {
		return nil, fault.Denied.With("this method is for clients, not for services").Requires(r.Demand.Scope)
	}
	if id.Actor != "" && (id.Actor != CallerOf(ctx) || !slices.Contains(r.Callers, id.Actor)) {
		return nil, fault.Denied.With("this method is not for services that act for an account").Requires(r.Demand.Scope)
	}
	narrowed, ok := id.For(r.Demand)
	if ok {
		return identity.With(ctx, narrowed), nil
	}
	switch {
	case id.Limited:
		return nil, fault.Denied.With("this credential does not grant %s", r.Demand.Scope).Requires(r.Demand.Scope)
	case id.ReadOnly():
		return nil, fault.Denied.With("a read-only administrator may not change anything").Requires(r.Demand.Scope)
	case r.Demand.Admin:
		return nil, fault.Denied.With("this needs an administrator").Requires(r.Demand.Scope)
	default:
		return nil, fault.Denied.With("none of your roles grants %s", r.Demand.Scope).Requires(r.Demand.Scope)
	}
}
