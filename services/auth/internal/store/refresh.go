package store

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	authpb "slipway.dev/proto/auth/v4"

	"slipway.dev/pkg/identity"
	"slipway.dev/services/auth/internal/domain"
)

// Refreshed is a session with refresh tokens, and whose it is.
type Refreshed struct {
	domain.Opened
	AccountID int32
	Lives     domain.Lives
}

// OpenRefresh makes a session with its first refresh token.
func (t Tx) OpenRefresh(ctx context.Context, a domain.Account, o domain.Opening, l domain.Lives, hash []byte) (Refreshed, error) {
	o.Kind, o.Life = domain.KindRefresh, &l.Refresh
	s, err := t.OpenSession(ctx, a, o)
	if err != nil {
		return Refreshed{}, err
	}
	_, err = t.Exec(ctx, `INSERT INTO refresh_session (session, access, idle) VALUES ($1, $2, $3)`, s.ID, l.Access, l.Refresh)
	if err == nil {
		_, err = t.Exec(ctx, `INSERT INTO refresh_token (hash, session) VALUES ($1, $2)`, hash, s.ID)
	}
	return Refreshed{s, a.ID, l}, err
}

// RefreshSession loads and locks the session of a refresh token, used or not. ErrInvalid: there is none that lives.
func (t Tx) RefreshSession(ctx context.Context, hash []byte) (r Refreshed, err error) {
	err = t.QueryRow(ctx, `
		SELECT t.id, t.uuid::text, t.created_at, t.expires_at, t.account_id, s.access, s.idle
		FROM token t JOIN refresh_session s ON s.session = t.id JOIN user_account a ON a.id = t.account_id
		WHERE t.id = (SELECT session FROM refresh_token WHERE hash = $1) AND t.expires_at > now() AND a.state = 'active'
		FOR NO KEY UPDATE OF t`, hash).
		Scan(&r.ID, &r.UUID, &r.CreatedAt, &r.ExpiresAt, &r.AccountID, &r.Lives.Access, &r.Lives.Refresh)
	if errors.Is(err, pgx.ErrNoRows) {
		return r, identity.ErrInvalid
	}
	return r, err
}

// RefreshToken reads a refresh token of a session that is locked.
func (t Tx) RefreshToken(ctx context.Context, hash []byte) (r domain.RefreshToken, err error) {
	err = t.QueryRow(ctx, `
		SELECT session, used_at IS NOT NULL, coalesce(used_at > clock_timestamp() - $2::interval, false), used_by, salt
		FROM refresh_token WHERE hash = $1`, hash, domain.RefreshGrace).Scan(&r.Session, &r.Used, &r.Recent, &r.UsedBy, &r.Salt)
	if errors.Is(err, pgx.ErrNoRows) {
		return r, identity.ErrInvalid
	}
	return r, err
}

// UseRefreshToken uses a token up and stores the next. It returns when the session ends now.
func (t Tx) UseRefreshToken(ctx context.Context, s Refreshed, hash, salt, next []byte, c domain.Client) (ends time.Time, err error) {
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
			[]any{s.ID, domain.RefreshKept - 1},
		},
	} {
		if _, err := t.Exec(ctx, step.sql, step.args...); err != nil {
			return ends, err
		}
	}
	err = t.QueryRow(ctx, `
		UPDATE token SET last_used = now(), ip = $2, expires_at = least(now() + $3::interval, created_at + $4::interval)
		WHERE id = $1 RETURNING expires_at`, s.ID, c.IP, s.Lives.Refresh, domain.RefreshAge).Scan(&ends)
	return ends, err
}

// EndRefreshSession ends a session and tells why; "" is by wish.
func (t Tx) EndRefreshSession(ctx context.Context, s Refreshed, why string) error {
	if _, err := t.Exec(ctx, `DELETE FROM token WHERE id = $1`, s.ID); err != nil {
		return err
	}
	return t.emit(ctx, "auth.v4.session.revoked", s.AccountID, &authpb.SessionRevoked{SessionId: s.ID, AccountId: s.AccountID, Reason: why})
}
