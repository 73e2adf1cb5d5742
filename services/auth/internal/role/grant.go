package role

import (
	"context"
	"errors"

	"slipway.dev/pkg/identity"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/auth/internal/power"
)

// CheckGrant refuses roles that do not exist, or that are more than by may give. field is the field of the request
// that names them. The roles are locked until the end of the unit of work.
func CheckGrant(ctx context.Context, tx *unit.Tx, p power.Powers, by identity.Identity, field string, names []string) error {
	var given identity.Identity
	for _, name := range names {
		r, err := find(ctx, tx, `name = $1 FOR SHARE`, name)
		switch {
		case errors.Is(err, errNone):
			return unknown(field, name)
		case err != nil:
			return err
		}
		one := r.identity(p)
		given.Roles = append(given.Roles, one.Roles...)
		given.Grants, given.GrantsAll = append(given.Grants, one.Grants...), append(given.GrantsAll, one.GrantsAll...)
	}
	return p.CheckGrant(by, given, field)
}
