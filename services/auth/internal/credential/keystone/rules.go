// Package keystone holds the tokens of the OpenStack dialect.
package keystone

import (
	"slices"
	"time"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/identity"
)

// Names in the table of credentials: the kind of these tokens, and the method where an API key opened one.
const (
	kind     = "keystone"
	byAPIKey = "application_credential"
)

// life is the default of Keystone, which clients know.
const life = time.Hour

// errNoToken is for the token that a call asks about, as opposed to the credential of the caller.
var errNoToken = fault.NotFound.With("no such token")

// rolesOf returns the roles by the names that OpenStack gives them, where each implies those after it.
func rolesOf(roles []string) []string {
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
