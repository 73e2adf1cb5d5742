package store

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"slipway.dev/services/auth/internal/domain"
)

// CreateKey stores a one-time key of an account.
func (t Tx) CreateKey(ctx context.Context, account int32, hash []byte) error {
	_, err := t.tx.Exec(ctx, `
		INSERT INTO login_key (hash, account_id, expires_at) VALUES ($1, $2, now() + `+minutes(domain.KeyTTL)+`)`,
		hash, account)
	return err
}

// RedeemKey uses a key up and returns the account, which stays as it is until the end of the unit of work. The account is
// locked before the key, in the order of those who end an account's keys; what is no key locks nothing.
func (t Tx) RedeemKey(ctx context.Context, hash []byte) (domain.Account, error) {
	var a domain.Account
	err := t.tx.QueryRow(ctx, `
		SELECT id, email, epoch FROM user_account
		WHERE state = 'active' AND id = (
			SELECT account_id FROM login_key WHERE hash = $1 AND used_at IS NULL AND expires_at > now())
		FOR SHARE`, hash).Scan(&a.ID, &a.Email, &a.Epoch)
	if err == nil {
		err = t.tx.QueryRow(ctx, `
			UPDATE login_key SET used_at = now()
			WHERE hash = $1 AND used_at IS NULL AND expires_at > now() RETURNING account_id`, hash).Scan(&a.ID)
	}
	if errors.Is(err, pgx.ErrNoRows) {
		return a, domain.ErrInvalidKey
	}
	return a, err
}
