package user

import (
	"context"
	"errors"

	"slipway.dev/pkg/identity"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/auth/internal/account"
)

// AddFirst makes an administrator when there is no account at all.
func (s *Users) AddFirst(ctx context.Context, email, password string) error {
	some := false
	look := func(tx *unit.Tx) (err error) {
		if err = tx.Lock(ctx, "first administrator"); err == nil {
			some, err = anyAccount(ctx, tx)
		}
		return err
	}
	if err := s.db.InTx(ctx, look); err != nil || some {
		return err
	}
	if password == "" {
		return errors.New("there is no account yet: set SLIPWAY_AUTH_ADMIN_PASSWORD, or SLIPWAY_AUTH_ADMIN_PASSWORD_FILE")
	}
	n := newAccount{password: password, role: identity.RoleAdmin, Account: account.Account{Email: email}}
	return s.add(ctx, n, func(insert insertFunc) error {
		return s.db.InTx(ctx, func(tx *unit.Tx) error {
			if err := look(tx); err != nil || some {
				return err
			}
			_, err := insert(tx, nil)
			return err
		})
	})
}
