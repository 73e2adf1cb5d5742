package caller

import (
	"context"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/identity"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/auth/internal/account"
)

// Administer runs do, in a unit of work, with an account that may do no more than the caller, and with the caller as
// it is now.
func (x Access) Administer(ctx context.Context, id int32, do func(tx *unit.Tx, by identity.Identity, a *account.Account) error) error {
	return x.AdministerAs(ctx, id, func(_, a identity.Identity) identity.Identity { return a }, do)
}

// AdministerAs is Administer where the caller comes to act for the account with fewer rights than the account has:
// rights returns them, and they may not exceed the caller's.
func (x Access) AdministerAs(ctx context.Context, id int32, rights func(by, a identity.Identity) identity.Identity,
	do func(tx *unit.Tx, by identity.Identity, a *account.Account) error,
) error {
	me, err := Of(ctx)
	if err != nil {
		return err
	}
	if me.AccountID != id && !me.ReachesAll() {
		return fault.NotFound.With("no such account")
	}
	return x.ByAdmin(ctx, func(tx *unit.Tx, by identity.Identity) error {
		a, err := account.Load(ctx, tx, id)
		if err != nil {
			return err
		}
		if err := x.powers.CheckReach(by, rights(by, a.Identity(0, x.powers))); err != nil {
			return err
		}
		return do(tx, by, &a)
	})
}

// ByAdmin runs do, in a unit of work, with the caller as it is now: an identity may be a minute old. One such unit of
// work runs at a time, so that two administrators cannot remove each other.
func (x Access) ByAdmin(ctx context.Context, do func(tx *unit.Tx, by identity.Identity) error) error {
	me, err := Of(ctx)
	if err != nil {
		return err
	}
	return x.db.InTx(ctx, func(tx *unit.Tx) error {
		if err := tx.Lock(ctx, "administrators"); err != nil {
			return err
		}
		by, err := active(account.Load(ctx, tx, me.AccountID))
		if err != nil {
			return err
		}
		if by.Revision != me.Revision {
			return identity.ErrInvalid // what the caller may do has changed: it needs a new identity
		}
		return do(tx, x.now(by, me))
	})
}

// now returns what an account may claim to be now, with the limits of the credential that it came with.
func (x Access) now(a account.Account, came identity.Identity) identity.Identity {
	i := a.Identity(came.SessionID, x.powers)
	i.Limited, i.Only = came.Limited, came.Only
	return i
}
