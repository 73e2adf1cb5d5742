package caller

import (
	"context"
	"errors"
	"strconv"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/identity"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/auth/internal/account"
	"slipway.dev/services/auth/internal/power"
)

// Access finds the accounts that a caller may see and change.
type Access struct {
	db     *unit.DB
	powers power.Powers
}

// New makes an Access.
func New(db *unit.DB, p power.Powers) Access { return Access{db, p} }

// Me reads the caller's account as it is now: an identity may be a minute old.
func (x Access) Me(ctx context.Context) (account.Account, error) {
	me, err := Of(ctx)
	if err != nil {
		return account.Account{}, err
	}
	return active(account.Find(ctx, x.db, me.AccountID))
}

// LoadMe is Me for a unit of work, which locks the account.
func (x Access) LoadMe(ctx context.Context, tx *unit.Tx) (account.Account, error) {
	me, err := Of(ctx)
	if err != nil {
		return account.Account{}, err
	}
	return active(account.Load(ctx, tx, me.AccountID))
}

// active refuses a caller whose account is deleted or suspended.
func active(a account.Account, err error) (account.Account, error) {
	if errors.Is(err, fault.NotFound) || err == nil && a.State != account.Active {
		return a, identity.ErrInvalid
	}
	return a, err
}

// Named finds an account by how a path names it: by its id, or else by its e-mail.
func (x Access) Named(ctx context.Context, text string) (account.Account, error) {
	if n, err := strconv.ParseInt(text, 10, 32); err == nil {
		return account.Find(ctx, x.db, int32(n))
	}
	if email := account.FoldEmail(text); email != "" {
		return account.FindByEmail(ctx, x.db, email)
	}
	return account.Find(ctx, x.db, 0)
}

// Mine is Named for the caller's own account, or any account where the caller reaches all. To other callers a foreign
// account is one that does not exist.
func (x Access) Mine(ctx context.Context, text string) (account.Account, error) {
	me, err := Of(ctx)
	if err != nil {
		return account.Account{}, err
	}
	a, err := x.Named(ctx, text)
	if err == nil && a.ID != me.AccountID && !me.ReachesAll() {
		return account.Account{}, fault.NotFound.With("no such account")
	}
	return a, err
}

// CheckReach locks an account other than the caller's and refuses it if it may do more than the caller.
func (x Access) CheckReach(ctx context.Context, tx *unit.Tx, id int32) error {
	me, err := Of(ctx)
	if err != nil || me.AccountID == id {
		return err
	}
	a, err := account.Load(ctx, tx, id)
	if err != nil {
		return err
	}
	return x.powers.CheckReach(me, a.Identity(0, x.powers))
}
