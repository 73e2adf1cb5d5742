// Package listing has what the lists of all rooms share: whose rows a caller sees, and how rows become answers.
package listing

import (
	"context"

	"slipway.dev/pkg/identity"
	"slipway.dev/pkg/query"
)

// Now is the SQL of a list's last_notify. Clients only hand it back, so the time serves.
const Now = `extract(epoch FROM now())::int`

// Owner returns the account whose objects the caller sees, 0 for all accounts.
func Owner(ctx context.Context) int32 {
	id, ok := identity.From(ctx)
	switch {
	case !ok:
		return -1 // no row has this owner
	case id.ReachesAll():
		return 0
	default:
		return id.AccountID
	}
}

// Own returns the scope of a list for an owner: the rows in whose column the account stands, or all rows for owner 0.
func Own(column string, owner int32) query.Scope {
	if owner == 0 {
		return query.Scope{}
	}
	return query.Scope{SQL: column + " = $1", Args: []any{owner}}
}

// Render renders the rows of a list.
func Render[T, P any](rows []T, render func(*T) P) []P {
	out := make([]P, len(rows))
	for i := range rows {
		out[i] = render(&rows[i])
	}
	return out
}
