package loginkey

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"slipway.dev/pkg/unit"
	"slipway.dev/services/auth/internal/account"
	"slipway.dev/services/auth/internal/credential"
	"slipway.dev/services/auth/internal/setting"
)

// create stores a one-time key of an account. maker is the credential that limits its session; nil for none. by is the account
// of the caller, with which the key ends.
func create(ctx context.Context, tx *unit.Tx, of, by int32, hash []byte, maker *int32) error {
	_, err := tx.Exec(ctx, `
		INSERT INTO login_key (hash, account_id, made_by, expires_at, maker) VALUES ($1, $2, $4, now() + `+setting.KeyTTL.Minutes()+`, $3)`,
		hash, of, maker, by)
	return err
}

// unused is SQL for the rows of login_key that may be redeemed by the value whose hash is $1.
const unused = `hash = $1 AND used_at IS NULL AND expires_at > now()`

// redeem uses a key up and returns its account and what it says of the session to open. It locks the account that made the key
// and the account of the key until the end of the unit of work, in this order, in which changes of the first end the key, and both
// before the key. It locks nothing for a value that is no key.
func redeem(ctx context.Context, tx *unit.Tx, hash []byte) (a account.Account, o credential.Opening, err error) {
	var by account.Account
	err = tx.QueryRow(ctx, account.ShareSQL(`(
		SELECT coalesce(made_by, account_id) FROM login_key WHERE `+unused+`)`), hash).Scan(&by.ID, &by.Email, &by.Epoch)
	if err == nil {
		err = tx.QueryRow(ctx, account.ShareSQL(`(
			SELECT account_id FROM login_key WHERE `+unused+`)`), hash).Scan(&a.ID, &a.Email, &a.Epoch)
	}
	if err == nil {
		err = tx.QueryRow(ctx, `
			UPDATE login_key SET used_at = now() WHERE `+unused+` RETURNING maker, made_by`, hash).Scan(&o.Maker, &o.MadeBy)
	}
	if errors.Is(err, pgx.ErrNoRows) {
		return a, o, errInvalid
	}
	return a, o, err
}
