// Package role holds the roles of accounts: what each allows, and whether a caller may give it.
package role

import (
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"google.golang.org/grpc/codes"

	"slipway.dev/pkg/access"
	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/identity"
	"slipway.dev/services/auth/internal/power"
)

// Faults of roles.
var (
	errBuiltin = fault.New(codes.FailedPrecondition, "ROLE_BUILTIN", "a built-in role cannot be changed")
	errInUse   = fault.New(codes.FailedPrecondition, "ROLE_IN_USE", "accounts have this role")
)

const (
	maxRoleDescription = 1000
	maxPatterns        = 100
	maxRoles           = 10 // of one account
)

// role is what the accounts that have it may do.
type role struct {
	ID                int32
	Name, Description string
	Scopes            []string // or patterns
	ReachAll          bool
	Builtin           bool
	AccountCount      int32
}

var roleName = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// newRole checks a role.
func newRole(name, description string, scopes []string, all bool, p power.Powers) (role, error) {
	r := role{Name: name, ReachAll: all}
	if !roleName.MatchString(name) {
		return r, fault.Invalid.With("1 to 64 letters, digits, %q, %q, %q", ".", "_", "-").On("name")
	}
	if err := r.describe(description); err != nil {
		return r, err
	}
	return r, r.allow(scopes, p)
}

// describe gives the role another description.
func (r *role) describe(text string) error {
	if utf8.RuneCountInString(text) > maxRoleDescription {
		return fault.Invalid.With("at most %d characters", maxRoleDescription).On("description")
	}
	r.Description = text
	return nil
}

// allow gives the role other scopes.
func (r *role) allow(scopes []string, p power.Powers) error {
	if len(scopes) == 0 || len(scopes) > maxPatterns {
		return fault.Invalid.With("one to %d are required", maxPatterns).On("scopes")
	}
	if _, strange := access.Expand(scopes, p.Scopes()); len(strange) > 0 {
		return fault.Invalid.With("there is no scope %q", fault.Clip(strange[0])).On("scopes")
	}
	r.Scopes = slices.Compact(slices.Sorted(slices.Values(scopes)))
	return nil
}

// allowsAs reports whether r allows what other allows.
func (r role) allowsAs(other role) bool {
	return r.ReachAll == other.ReachAll && slices.Equal(r.Scopes, other.Scopes)
}

// identity returns what an account with this role alone may claim to be.
func (r role) identity(p power.Powers) identity.Identity {
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

// shown returns the scopes to show: those of a built-in role are the scopes of the methods that it may call.
func (r role) shown(p power.Powers) []string {
	if r.Builtin {
		return p.ScopesOf(r.identity(p))
	}
	return r.Scopes
}

// CheckNames checks the form of the names of an account's roles and returns each once. CheckGrant finds out whether
// they exist.
func CheckNames(field string, list []string) ([]string, error) {
	if len(list) == 0 || len(list) > maxRoles {
		return nil, fault.Invalid.With("one to %d roles are required", maxRoles).On(field)
	}
	var out []string
	for _, r := range list {
		if !roleName.MatchString(strings.TrimPrefix(r, "@")) {
			return nil, unknown(field, r)
		}
		if !slices.Contains(out, r) {
			out = append(out, r)
		}
	}
	return out, nil
}

// unknown returns the fault of a role that does not exist.
func unknown(field, name string) error {
	return fault.Invalid.With("there is no role %q", fault.Clip(name)).On(field)
}
