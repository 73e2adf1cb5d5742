// Package power compares what callers may do: all methods that there are, the scopes that they demand, and whether
// one identity may do more than another.
package power

import (
	"slipway.dev/proto/all"

	"slipway.dev/pkg/access"
	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/identity"
)

// Powers knows all methods and so what an identity may do.
type Powers struct {
	methods []access.Method
	demands []identity.Demand
	scopes  []string
}

// New reads from proto/all which methods there are. A scope that no method there demands cannot be granted.
func New() Powers {
	methods := access.In(all.Files()...)
	demands := access.Demands(methods)
	return Powers{methods, demands, access.Scopes(demands)}
}

// Scopes lists all scopes.
func (p Powers) Scopes() []string { return p.scopes }

// Methods lists all methods.
func (p Powers) Methods() []access.Method { return p.methods }

// Expand returns the scopes that patterns name. A pattern that names none grants nothing: its method may be gone.
func (p Powers) Expand(patterns []string) []string {
	scopes, _ := access.Expand(patterns, p.scopes)
	return scopes
}

// ScopesOf lists the scopes with a method that i may call.
func (p Powers) ScopesOf(i identity.Identity) []string {
	var list []identity.Demand
	for _, d := range p.demands {
		if access.ReachOf(i, d) > access.Nowhere {
			list = append(list, d)
		}
	}
	return access.Scopes(list)
}

// CheckGrant refuses a grant of more than by has. field is the field of the request that names the grant.
func (p Powers) CheckGrant(by, given identity.Identity, field string) error {
	if more, ok := access.Covers(p.demands, by, given); !ok {
		return fault.Denied.With("this grants more than you may do: %s", more).On(field)
	}
	return nil
}

// CheckReach refuses a change of an account that may do more than by.
func (p Powers) CheckReach(by, other identity.Identity) error {
	if more, ok := access.Covers(p.demands, by, other); !ok {
		return fault.Denied.With("this account may do more than you: %s", more)
	}
	return nil
}
