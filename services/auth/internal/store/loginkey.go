package store

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"slipway.dev/services/auth/internal/domain"
)

// CreateKey stores a one-time key of an account. maker is the API key that limits its session; nil for none.
func (t Tx) CreateKey(ctx context.Context, account int32, hash []byte, maker *int32) error {
	_, err := t.Exec(ctx, `
		INSERT INTO login_key (hash, account_id, expires_at, maker) VALUES ($1, $2, now() + `+minutes(domain.KeyTTL)+`, $3)`,
		hash, account, maker)
	return err
}

// RedeemKey uses a key up and returns its maker and the account, which stays as it is until the end of the unit of work. The account is
// locked before the key, in the order of those who end an account's keys; what is no key locks nothing.
func (t Tx) RedeemKey(ctx context.Context, hash []byte) (a domain.Account, maker *int32, err error) {
	err = t.QueryRow(ctx, `
		SELECT id, email, epoch FROM user_account
		WHERE state = 'active' AND id = (
			SELECT account_id FROM login_key WHERE hash = $1 AND used_at IS NULL AND expires_at > now())
		FOR SHARE`, hash).Scan(&a.ID, &a.Email, &a.Epoch)
	if err == nil {
		err = t.QueryRow(ctx, `
			UPDATE login_key SET used_at = now()
			WHERE hash = $1 AND used_at IS NULL AND expires_at > now() RETURNING maker`, hash).Scan(&maker)
	}
	if errors.Is(err, pgx.ErrNoRows) {
		return a, nil, domain.ErrInvalidKey
	}
	return a, maker, err
}
