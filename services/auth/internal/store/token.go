package store

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"slipway.dev/pkg/identity"
	"slipway.dev/services/auth/internal/domain"
)

// Live is a token that is good now, by the clock of the database, and whose it is.
type Live struct {
	Session int32
	Account domain.Account
	Left    *time.Duration // until it ends; nil is never
}

// idle is how long a session may be unused; $1 is the default.
const idle = `coalesce((SELECT value::integer * interval '1 minute' FROM setting WHERE name = 'token_ttl'), $1::interval)`

// maxAge is how long a session may be used at all; NULL is for ever.
var maxAge = `(nullif(` + number(domain.SessionMaxAge) + `, 0) * interval '1 minute')`

// Use looks a token up and notes that it was used: at most once a minute, and for short lives more often.
func (s *Store) Use(ctx context.Context, hash []byte, ttl time.Duration) (Live, error) {
	var l Live
	var stale bool
	a := &l.Account
	err := s.pool.QueryRow(ctx, `
		SELECT t.id, user_account.id, email, roles, state, auth_source, revision, `+grants+`,
		       CASE WHEN t.sliding THEN least(t.last_used + i.idle, t.created_at + i.age) ELSE t.expires_at END - now(),
		       t.last_used < now() - least(interval '1 minute', i.idle / 4)
		FROM token t JOIN user_account ON user_account.id = t.account_id CROSS JOIN (SELECT `+idle+` AS idle, `+maxAge+` AS age) i
		WHERE t.hash = $2 AND state = 'active'
		  AND (t.sliding OR coalesce(t.expires_at > now(), true))
		  AND (NOT t.sliding OR least(t.last_used + i.idle, t.created_at + i.age) > now())`, ttl, hash).
		Scan(&l.Session, &a.ID, &a.Email, &a.Roles, &a.State, &a.AuthSource, &a.Revision, &a.OwnScopes, &a.AllScopes, &l.Left, &stale)
	if errors.Is(err, pgx.ErrNoRows) {
		return l, identity.ErrInvalid
	}
	if err != nil || !stale {
		return l, err
	}
	_, err = s.pool.Exec(ctx, `
		UPDATE token SET last_used = now()
		WHERE id = $1 AND last_used < now() - interval '1 second'`, l.Session)
	return l, err
}

// OpenSession makes a sliding token, unless the account was suspended or got another password since it was read.
func (t Tx) OpenSession(ctx context.Context, a domain.Account, hash []byte) error {
	tag, err := t.tx.Exec(ctx, `
		INSERT INTO token (account_id, hash, sliding)
		SELECT id, $2, true FROM user_account WHERE id = $1 AND state = 'active' AND epoch = $3
		FOR SHARE`, a.ID, hash, a.Epoch)
	if err == nil && tag.RowsAffected() == 0 {
		return domain.ErrInvalidPassword
	}
	return err
}

// CreateToken makes a token that ends at expires, or never when it is nil. session is the one that asks, 0 for none.
func (t Tx) CreateToken(ctx context.Context, account, session int32, hash []byte, expires *time.Time, description string) error {
	state, err := t.LockAccount(ctx, account)
	if err != nil {
		return err
	}
	lives := session == 0
	if !lives {
		err := t.tx.QueryRow(ctx, `
			SELECT EXISTS (SELECT FROM token WHERE id = $1 AND account_id = $2)`, session, account).Scan(&lives)
		if err != nil {
			return err
		}
	}
	if state != domain.Active || !lives {
		return identity.ErrInvalid // the identity is older than that
	}
	tag, err := t.tx.Exec(ctx, `
		INSERT INTO token (account_id, hash, sliding, expires_at, description)
		SELECT $1, $2, false, $3::timestamptz, $4
		WHERE (SELECT count(*) FROM token WHERE account_id = $1 AND NOT sliding) < $5`,
		account, hash, expires, description, domain.MaxTokens)
	if err == nil && tag.RowsAffected() == 0 {
		return domain.ErrTooManyTokens
	}
	return err
}

// DeleteDead removes tokens and one-time keys that ended and counters of failed logins that no longer count.
func (s *Store) DeleteDead(ctx context.Context, ttl time.Duration) error {
	if _, err := s.pool.Exec(ctx, `DELETE FROM login_failure WHERE since < now() - `+minutes(domain.LoginWindow)); err != nil {
		return err
	}
	if _, err := s.pool.Exec(ctx, `DELETE FROM login_key WHERE expires_at < now()`); err != nil {
		return err
	}
	_, err := s.pool.Exec(ctx, `DELETE FROM token WHERE NOT `+tokenLives, ttl)
	return err
}
