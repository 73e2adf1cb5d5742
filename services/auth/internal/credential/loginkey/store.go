package loginkey

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"slipway.dev/pkg/unit"
	"slipway.dev/services/auth/internal/account"
	"slipway.dev/services/auth/internal/setting"
)

// create stores a one-time key of an account. maker is the credential that limits its session; nil for none.
func create(ctx context.Context, tx *unit.Tx, of int32, hash []byte, maker *int32) error {
	_, err := tx.Exec(ctx, `
		INSERT INTO login_key (hash, account_id, expires_at, maker) VALUES ($1, $2, now() + `+setting.KeyTTL.Minutes()+`, $3)`,
		hash, of, maker)
	return err
}

// redeem uses a key up and returns its maker and the account, which is locked until the end of the unit of work. The
// account is locked before the key, in the order in which changes of an account end its keys; a value that is no key
// locks nothing.
func redeem(ctx context.Context, tx *unit.Tx, hash []byte) (a account.Account, maker *int32, err error) {
	err = tx.QueryRow(ctx, account.ShareSQL(`(
		SELECT account_id FROM login_key WHERE hash = $1 AND used_at IS NULL AND expires_at > now())`), hash).Scan(&a.ID, &a.Email, &a.Epoch)
	if err == nil {
		err = tx.QueryRow(ctx, `
			UPDATE login_key SET used_at = now()
			WHERE hash = $1 AND used_at IS NULL AND expires_at > now() RETURNING maker`, hash).Scan(&maker)
	}
	if errors.Is(err, pgx.ErrNoRows) {
		return a, nil, errInvalid
	}
	return a, maker, err
}
