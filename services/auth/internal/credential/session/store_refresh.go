package session

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"slipway.dev/pkg/identity"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/auth/internal/account"
	"slipway.dev/services/auth/internal/credential"
)

// refreshed is a session with refresh tokens.
type refreshed struct {
	credential.Opened
	account int32
	lives   lives
}

// open makes a session with its first refresh token.
func open(ctx context.Context, tx *unit.Tx, a account.Account, o credential.Opening, l lives, hash []byte) (refreshed, error) {
	o.Kind, o.Life = kindRefresh, &l.refresh
	s, err := credential.Open(ctx, tx, a, o)
	if err != nil {
		return refreshed{}, err
	}
	_, err = tx.Exec(ctx, `INSERT INTO refresh_session (session, access, idle) VALUES ($1, $2, $3)`, s.ID, l.access, l.refresh)
	if err == nil {
		_, err = tx.Exec(ctx, `INSERT INTO refresh_token (hash, session) VALUES ($1, $2)`, hash, s.ID)
	}
	return refreshed{s, a.ID, l}, err
}

// read reads a refresh token of a session that is locked.
func read(ctx context.Context, tx *unit.Tx, hash []byte) (r refreshToken, err error) {
	err = tx.QueryRow(ctx, `
		SELECT used_at IS NOT NULL, coalesce(used_at > clock_timestamp() - $2::interval, false), used_by, salt
		FROM refresh_token WHERE hash = $1`, hash, refreshGrace).Scan(&r.used, &r.recent, &r.usedBy, &r.salt)
	if errors.Is(err, pgx.ErrNoRows) {
		return r, identity.ErrInvalid
	}
	return r, err
}

// advance uses a refresh token up and stores the next. It returns when the session ends now.
func advance(ctx context.Context, tx *unit.Tx, s refreshed, hash, salt, next []byte, c credential.Client) (ends time.Time, err error) {
	for _, step := range []struct {
		sql  string
		args []any
	}{
		{`UPDATE refresh_token SET salt = NULL WHERE session = $1 AND salt IS NOT NULL`, []any{s.ID}},
		{`UPDATE refresh_token SET used_at = clock_timestamp(), used_by = $2, salt = $3 WHERE hash = $1`, []any{hash, c.Hash(), salt}},
		{`INSERT INTO refresh_token (hash, session) VALUES ($1, $2)`, []any{next, s.ID}},
		{
			`DELETE FROM refresh_token WHERE session = $1 AND used_at < (
				SELECT used_at FROM refresh_token WHERE session = $1 AND used_at IS NOT NULL ORDER BY used_at DESC OFFSET $2 LIMIT 1)`,
			[]any{s.ID, refreshKept - 1},
		},
	} {
		if _, err := tx.Exec(ctx, step.sql, step.args...); err != nil {
			return ends, err
		}
	}
	err = tx.QueryRow(ctx, `
		UPDATE token SET last_used = now(), ip = $2, expires_at = least(now() + $3::interval, created_at + $4::interval)
		WHERE id = $1 RETURNING expires_at`, s.ID, c.IP, s.lives.refresh, refreshAge).Scan(&ends)
	return ends, err
}

// end ends a session and emits why; "" where its owner ended it.
func end(ctx context.Context, tx *unit.Tx, s refreshed, why string) error {
	if _, err := tx.Exec(ctx, `DELETE FROM token WHERE id = $1`, s.ID); err != nil {
		return err
	}
	return credential.Revoked(ctx, tx, s.account, s.ID, why)
}
