package domain

import (
	"slices"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/identity"
)

// ErrNoToken is for the subject of a question, as opposed to the token of who asks.
var ErrNoToken = fault.NotFound.With("no such token")

// KeystoneRoles are the roles by the names that OpenStack gives them, where each implies those after it.
func KeystoneRoles(roles []string) []string {
	all := []string{"admin", "member", "reader"}
	switch {
	case slices.Contains(roles, identity.RoleAdmin):
		return all
	case slices.Contains(roles, identity.RoleUser), slices.Contains(roles, identity.RoleAdvancedUser):
		return all[1:]
	default:
		return all[2:]
	}
}
