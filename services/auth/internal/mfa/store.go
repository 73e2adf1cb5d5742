package mfa

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"slipway.dev/pkg/unit"
)

// offer stores a secret that counts for nothing yet, instead of any such one before. The caller has locked the account.
func offer(ctx context.Context, tx *unit.Tx, account int32, sealed []byte) error {
	tag, err := tx.Exec(ctx, `
		INSERT INTO totp AS o (account_id, secret) VALUES ($1, $2)
		ON CONFLICT (account_id) DO UPDATE SET secret = excluded.secret, created_at = now() WHERE o.confirmed_at IS NULL`, account, sealed)
	if err == nil && tag.RowsAffected() == 0 {
		return errActive
	}
	return err
}

// load reads an account's second factor and locks it until the end of the unit of work. The secret is sealed.
func load(ctx context.Context, tx *unit.Tx, account int32) (f factor, sealed []byte, err error) {
	err = tx.QueryRow(ctx, `
		SELECT secret, confirmed_at IS NOT NULL, last_step FROM totp WHERE account_id = $1 FOR UPDATE`, account).
		Scan(&sealed, &f.confirmed, &f.lastStep)
	if errors.Is(err, pgx.ErrNoRows) {
		return f, nil, ErrInactive
	}
	return f, sealed, err
}

// confirm makes a second factor count, whose first code was of this step.
func confirm(ctx context.Context, tx *unit.Tx, account int32, step int64) error {
	_, err := tx.Exec(ctx, `
		UPDATE totp SET confirmed_at = now(), last_step = $2 WHERE account_id = $1 AND confirmed_at IS NULL`, account, step)
	return err
}

// useStep uses the code of a step up.
func useStep(ctx context.Context, tx *unit.Tx, account int32, step int64) error {
	tag, err := tx.Exec(ctx, `UPDATE totp SET last_step = $2 WHERE account_id = $1 AND last_step < $2`, account, step)
	if err == nil && tag.RowsAffected() == 0 {
		return ErrInvalidCode
	}
	return err
}

// Delete removes an account's second factor and its recovery codes.
func Delete(ctx context.Context, tx *unit.Tx, account int32) error {
	_, err := tx.Exec(ctx, `DELETE FROM totp WHERE account_id = $1`, account)
	return err
}

// setRecoveryCodes replaces the recovery codes of an account.
func setRecoveryCodes(ctx context.Context, tx *unit.Tx, account int32, hashes [][]byte) error {
	if _, err := tx.Exec(ctx, `DELETE FROM recovery_code WHERE account_id = $1`, account); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, `
		INSERT INTO recovery_code (account_id, hash) SELECT $1, unnest($2::bytea[])`, account, hashes)
	return err
}

// useRecoveryCode uses a recovery code up.
func useRecoveryCode(ctx context.Context, tx *unit.Tx, account int32, hash []byte) error {
	tag, err := tx.Exec(ctx, `DELETE FROM recovery_code WHERE account_id = $1 AND hash = $2`, account, hash)
	if err == nil && tag.RowsAffected() == 0 {
		return ErrInvalidCode
	}
	return err
}

// recoveryCodes counts the recovery codes that an account has left.
func recoveryCodes(ctx context.Context, db *unit.DB, account int32) (n int32, err error) {
	err = db.QueryRow(ctx, `SELECT count(*) FROM recovery_code WHERE account_id = $1`, account).Scan(&n)
	return n, err
}

// sealedSecret is the secret of a second factor as it is stored.
type sealedSecret struct {
	AccountID int32
	Secret    []byte
}

// sealedSecrets reads and locks the secrets of all second factors.
func sealedSecrets(ctx context.Context, tx *unit.Tx) ([]sealedSecret, error) {
	rows, err := tx.Query(ctx, `SELECT account_id, secret FROM totp ORDER BY account_id FOR UPDATE`)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByName[sealedSecret])
}

// setSealed replaces the sealed form of a secret.
func setSealed(ctx context.Context, tx *unit.Tx, s sealedSecret) error {
	_, err := tx.Exec(ctx, `UPDATE totp SET secret = $2 WHERE account_id = $1`, s.AccountID, s.Secret)
	return err
}
