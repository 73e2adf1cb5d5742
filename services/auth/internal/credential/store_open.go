package credential

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"slipway.dev/pkg/unit"
	"slipway.dev/services/auth/internal/account"
	"slipway.dev/services/auth/internal/password"
)

// Open makes a session, unless the account was suspended or got another password since it was read. The statement
// that inserts the session also checks the account and locks it.
func Open(ctx context.Context, tx *unit.Tx, a account.Account, o Opening) (s Opened, err error) {
	err = tx.QueryRow(ctx, `
		INSERT INTO token (account_id, hash, sliding, kind, expires_at, method, ip, user_agent, maker, made_by)
		SELECT id, $2, $3 = '', nullif($3, ''), now() + $4::interval, $5, $6, $7, $8, $10
		FROM (`+account.ShareSQL(`$1`)+`) a WHERE epoch = $9
		RETURNING id, uuid::text, created_at, expires_at`,
		a.ID, o.Hash, o.Kind, o.Life, o.Method, o.Client.IP, o.Client.UserAgent, o.Maker, a.Epoch, o.MadeBy).
		Scan(&s.ID, &s.UUID, &s.CreatedAt, &s.ExpiresAt)
	if errors.Is(err, pgx.ErrNoRows) {
		return s, password.ErrWrong
	}
	return s, err
}
