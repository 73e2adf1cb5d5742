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
	read    bool
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
	var missing []string
	for i := range methods.Len() {
		m := methods.Get(i)
		opts, _ := m.Options().(*descriptorpb.MethodOptions)
		a, _ := proto.GetExtension(opts, accesspb.E_Access).(*accesspb.Access)
		if a.GetLevel() == accesspb.Level_LEVEL_UNSPECIFIED {
			missing = append(missing, string(m.Name()))
			continue
		}
		rules[fmt.Sprintf("/%s/%s", service, m.Name())] = rule{a.GetLevel(), a.GetCallers(), a.GetRead()}
	}
	if missing != nil {
		return rules, fmt.Errorf("rpc: methods of %s declare no access: %v", service, missing)
	}
	return rules, nil
}

// allow returns nil when the caller of ctx satisfies the rule of method.
func (s *Server) allow(ctx context.Context, method string) error {
	r, ok := s.rules[method]
	if !ok {
		return ErrNoRule
	}
	if r.level == levelPublic {
		return nil
	}
	if r.level == levelService {
		if !slices.Contains(r.callers, CallerOf(ctx)) {
			return fault.Denied
		}
		return nil
	}
	id, ok := identity.From(ctx)
	switch {
	case !ok:
		return fault.Unauthenticated
	case id.ReadOnly():
		if !r.read {
			return fault.Denied.With("a read-only administrator may not change anything")
		}
		return nil
	case r.level == levelAdmin && !id.Admin():
		return fault.Denied.With("this needs an administrator")
	}
	return nil
}
