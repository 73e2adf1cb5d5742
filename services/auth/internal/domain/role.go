package domain

import (
	"regexp"
	"slices"
	"strings"

	"google.golang.org/grpc/codes"

	"slipway.dev/pkg/access"
	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/identity"
)

// Faults of roles.
var (
	ErrBuiltinRole = fault.New(codes.FailedPrecondition, "ROLE_BUILTIN", "a built-in role cannot be changed")
	ErrRoleInUse   = fault.New(codes.FailedPrecondition, "ROLE_IN_USE", "accounts have this role")
)

const (
	maxRoleDescription = 1000
	maxPatterns        = 100
	maxRoles           = 10 // of one account
)

// Role is what the accounts that have it may do.
type Role struct {
	ID                int32
	Name, Description string
	Scopes            []string // or patterns
	ReachAll          bool
	Builtin           bool
	AccountCount      int32
}

var roleName = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// NewRole checks a role.
func NewRole(name, description string, scopes []string, all bool, p Powers) (Role, error) {
	r := Role{Name: name, ReachAll: all}
	if !roleName.MatchString(name) {
		return r, fault.Invalid.With("1 to 64 letters, digits, %q, %q, %q", ".", "_", "-").On("name")
	}
	if err := r.Describe(description); err != nil {
		return r, err
	}
	return r, r.Allow(scopes, p)
}

// Describe gives the role another description.
func (r *Role) Describe(text string) error {
	if len(text) > maxRoleDescription {
		return fault.Invalid.With("at most %d bytes", maxRoleDescription).On("description")
	}
	r.Description = text
	return nil
}

// Allow gives the role other scopes.
func (r *Role) Allow(scopes []string, p Powers) error {
	if len(scopes) == 0 || len(scopes) > maxPatterns {
		return fault.Invalid.With("one to %d are required", maxPatterns).On("scopes")
	}
	if _, strange := access.Expand(scopes, p.Scopes()); len(strange) > 0 {
		return fault.Invalid.With("there is no scope %q", clip(strange[0])).On("scopes")
	}
	r.Scopes = slices.Compact(slices.Sorted(slices.Values(scopes)))
	return nil
}

// AllowsAs reports whether r allows what other does.
func (r Role) AllowsAs(other Role) bool {
	return r.ReachAll == other.ReachAll && slices.Equal(r.Scopes, other.Scopes)
}

// Identity is what somebody with nothing but this role may claim to be.
func (r Role) Identity(p Powers) identity.Identity {
	if r.Builtin {
		return identity.Identity{Roles: []string{r.Name}}
	}
	i := identity.Identity{Roles: []string{r.Name}}
	if r.ReachAll {
		i.GrantsAll = p.Expand(r.Scopes)
	} else {
		i.Grants = p.Expand(r.Scopes)
	}
	return i
}

// Together is what somebody with all of these roles may claim to be.
func Together(roles []Role, p Powers) identity.Identity {
	var i identity.Identity
	for _, r := range roles {
		one := r.Identity(p)
		i.Roles = append(i.Roles, one.Roles...)
		i.Grants, i.GrantsAll = append(i.Grants, one.Grants...), append(i.GrantsAll, one.GrantsAll...)
	}
	return i
}

// Shown are the scopes to show: a built-in role's are those of the methods that it may call.
func (r Role) Shown(p Powers) []string {
	if r.Builtin {
		return p.ScopesOf(r.Identity(p))
	}
	return r.Scopes
}

// RoleNames checks the names of an account's roles. Whether they exist is for the store to say.
func RoleNames(field string, list []string) ([]string, error) {
	if len(list) == 0 || len(list) > maxRoles {
		return nil, fault.Invalid.With("one to %d roles are required", maxRoles).On(field)
	}
	var out []string
	for _, r := range list {
		if !roleName.MatchString(strings.TrimPrefix(r, "@")) {
			return nil, NoRole(field, r)
		}
		if !slices.Contains(out, r) {
			out = append(out, r)
		}
	}
	return out, nil
}

// NoRole is the fault of a role that does not exist.
func NoRole(field, name string) error {
	return fault.Invalid.With("there is no role %q", clip(name)).On(field)
}
