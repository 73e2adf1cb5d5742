package store

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// SealedTOTP is the secret of a second factor as it is stored.
type SealedTOTP struct {
	AccountID int32
	Secret    []byte
}

// SealedTOTPs reads and locks the secrets of all second factors.
func (t Tx) SealedTOTPs(ctx context.Context) ([]SealedTOTP, error) {
	rows, err := t.Query(ctx, `SELECT account_id, secret FROM totp ORDER BY account_id FOR UPDATE`)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByName[SealedTOTP])
}

// SealTOTP replaces how the secret of a second factor is kept.
func (t Tx) SealTOTP(ctx context.Context, s SealedTOTP) error {
	_, err := t.Exec(ctx, `UPDATE totp SET secret = $2 WHERE account_id = $1`, s.AccountID, s.Secret)
	return err
}
