package store

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"slipway.dev/services/auth/internal/domain"
)

// OfferTOTP stores a secret that counts for nothing yet, instead of any such one before. The caller holds the account.
func (t Tx) OfferTOTP(ctx context.Context, account int32, sealed []byte) error {
	tag, err := t.Exec(ctx, `
		INSERT INTO totp AS o (account_id, secret) VALUES ($1, $2)
		ON CONFLICT (account_id) DO UPDATE SET secret = excluded.secret, created_at = now() WHERE o.confirmed_at IS NULL`, account, sealed)
	if err == nil && tag.RowsAffected() == 0 {
		return domain.ErrTOTPActive
	}
	return err
}

// TOTP reads an account's second factor, which stays as it is until the end of the unit of work. Its secret comes sealed.
func (t Tx) TOTP(ctx context.Context, account int32) (f domain.TOTP, sealed []byte, err error) {
	err = t.QueryRow(ctx, `
		SELECT secret, confirmed_at IS NOT NULL, last_step FROM totp WHERE account_id = $1 FOR UPDATE`, account).
		Scan(&sealed, &f.Confirmed, &f.LastStep)
	if errors.Is(err, pgx.ErrNoRows) {
		return f, nil, domain.ErrTOTPInactive
	}
	return f, sealed, err
}

// ConfirmTOTP makes a second factor count, whose first code was of this step.
func (t Tx) ConfirmTOTP(ctx context.Context, account int32, step int64) error {
	_, err := t.Exec(ctx, `
		UPDATE totp SET confirmed_at = now(), last_step = $2 WHERE account_id = $1 AND confirmed_at IS NULL`, account, step)
	return err
}

// UseStep uses the code of a step up.
func (t Tx) UseStep(ctx context.Context, account int32, step int64) error {
	tag, err := t.Exec(ctx, `UPDATE totp SET last_step = $2 WHERE account_id = $1 AND last_step < $2`, account, step)
	if err == nil && tag.RowsAffected() == 0 {
		return domain.ErrInvalidCode
	}
	return err
}

// DeleteTOTP removes an account's second factor and its recovery codes.
func (t Tx) DeleteTOTP(ctx context.Context, account int32) error {
	_, err := t.Exec(ctx, `DELETE FROM totp WHERE account_id = $1`, account)
	return err
}

// SetRecoveryCodes replaces the recovery codes of an account.
func (t Tx) SetRecoveryCodes(ctx context.Context, account int32, hashes [][]byte) error {
	if _, err := t.Exec(ctx, `DELETE FROM recovery_code WHERE account_id = $1`, account); err != nil {
		return err
	}
	_, err := t.Exec(ctx, `
		INSERT INTO recovery_code (account_id, hash) SELECT $1, unnest($2::bytea[])`, account, hashes)
	return err
}

// UseRecoveryCode uses a recovery code up.
func (t Tx) UseRecoveryCode(ctx context.Context, account int32, hash []byte) error {
	tag, err := t.Exec(ctx, `DELETE FROM recovery_code WHERE account_id = $1 AND hash = $2`, account, hash)
	if err == nil && tag.RowsAffected() == 0 {
		return domain.ErrInvalidCode
	}
	return err
}

// RecoveryCodes counts the recovery codes that an account has left.
func (s *Store) RecoveryCodes(ctx context.Context, account int32) (n int32, err error) {
	err = s.pool.QueryRow(ctx, `SELECT count(*) FROM recovery_code WHERE account_id = $1`, account).Scan(&n)
	return n, err
}
