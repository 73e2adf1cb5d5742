// Package caller finds out which account calls, and which accounts it may see and change.
package caller

import (
	"context"
	"slices"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/identity"
)

// Of returns the identity of the caller. The interceptor has made sure that there is one.
func Of(ctx context.Context) (identity.Identity, error) {
	i, ok := identity.From(ctx)
	if !ok {
		return i, fault.Unauthenticated
	}
	return i, nil
}

// Sees returns the account of which the caller sees records and credentials; 0 is all.
func Sees(me identity.Identity) int32 {
	if me.ReachesAll() {
		return 0
	}
	return me.AccountID
}

// Ends returns the account whose credentials the caller may end; 0 is all. A caller who may only look at everything
// ends none but its own.
func Ends(me identity.Identity, scope string) int32 {
	if me.Admin() || slices.Contains(me.GrantsAll, scope) {
		return 0
	}
	return me.AccountID
}
