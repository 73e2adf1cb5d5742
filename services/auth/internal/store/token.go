package store

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"slipway.dev/pkg/audit"
	"slipway.dev/pkg/identity"
	"slipway.dev/services/auth/internal/domain"
)

// Live is a credential that is good now, by the clock of the database, and whose it is.
type Live struct {
	Session  int32
	Account  domain.Account
	Left     *time.Duration // until it ends; nil is never
	IssuedAt time.Time
	Method   string
	Kind     string       // "session" and "token" included
	Own      domain.Limit // its own limits
	Made     domain.Limit // those of the API key that made it
}

// idle is how long a session may be unused; $1 is the default.
const idle = `coalesce((SELECT value::integer * interval '1 minute' FROM setting WHERE name = 'token_ttl'), $1::interval)`

// maxAge is how long a session may be used at all; NULL is for ever.
var maxAge = `(nullif(` + number(domain.SessionMaxAge) + `, 0) * interval '1 minute')`

// Use looks a token or an API key up for a client and notes that it was used: at most once a minute, and for short lives
// more often.
func (s *Store) Use(ctx context.Context, hash []byte, ttl time.Duration, ip string) (Live, error) {
	return s.use(ctx, "t.hash = $2", hash, ttl, ip)
}

// UseSession is Use for a session with refresh tokens, by its uuid.
func (s *Store) UseSession(ctx context.Context, uuid string, ttl time.Duration, ip string) (Live, error) {
	return s.use(ctx, "t.uuid = $2 AND t.kind = 'refresh'", uuid, ttl, ip)
}

// What is opened by a one-time key is used elsewhere than the API key that made the one-time key.
var live = `
	SELECT t.id, user_account.id, email, roles, state, auth_source, epoch, revision, ` + grants + `,
	       least(CASE WHEN t.sliding THEN least(t.last_used + i.idle, t.created_at + i.age) ELSE t.expires_at END, m.expires_at) - now(),
	       t.last_used < now() - least(interval '1 minute', i.idle / 4) OR t.kind IS NOT DISTINCT FROM 'apikey' AND t.last_used = t.created_at,
	       t.created_at, t.method, ` + tokenKind + `, t.scopes, t.cidrs, m.scopes,
	       CASE WHEN t.method <> 'key' THEN coalesce(m.cidrs, '{}') ELSE '{}' END
	FROM token t JOIN user_account ON user_account.id = t.account_id LEFT JOIN token m ON m.id = t.maker
	CROSS JOIN (SELECT ` + idle + ` AS idle, ` + maxAge + ` AS age) i
	WHERE state = 'active'
	  AND (t.sliding OR coalesce(t.expires_at > now(), true))
	  AND (NOT t.sliding OR least(t.last_used + i.idle, t.created_at + i.age) > now())
	  AND coalesce(m.expires_at > now(), true) AND `

func (s *Store) use(ctx context.Context, which string, arg any, ttl time.Duration, ip string) (Live, error) {
	var l Live
	var stale bool
	a := &l.Account
	err := s.pool.QueryRow(ctx, live+which, ttl, arg).
		Scan(&l.Session, &a.ID, &a.Email, &a.Roles, &a.State, &a.AuthSource, &a.Epoch, &a.Revision, &a.OwnScopes, &a.AllScopes, &l.Left, &stale,
			&l.IssuedAt, &l.Method, &l.Kind, &l.Own.Scopes, &l.Own.CIDRs, &l.Made.Scopes, &l.Made.CIDRs)
	if errors.Is(err, pgx.ErrNoRows) || err == nil && !(l.Own.Admits(ip) && l.Made.Admits(ip)) {
		return l, identity.ErrInvalid
	}
	if err != nil || !stale {
		return l, err
	}
	_, err = s.pool.Exec(ctx, `
		UPDATE token SET last_used = now(), ip = $2
		WHERE id = $1 AND (last_used < now() - interval '1 second' OR last_used = created_at)`, l.Session, ip)
	return l, err
}

// OpenSession makes a session, unless the account was suspended or got another password since it was read.
func (t Tx) OpenSession(ctx context.Context, a domain.Account, o domain.Opening) (s domain.Opened, err error) {
	err = t.QueryRow(ctx, `
		INSERT INTO token (account_id, hash, sliding, kind, expires_at, method, ip, user_agent, maker)
		SELECT id, $2, $3 = '', nullif($3, ''), now() + $4::interval, $5, $6, $7, $8
		FROM user_account WHERE id = $1 AND state = 'active' AND epoch = $9
		FOR SHARE
		RETURNING id, uuid::text, created_at, expires_at`,
		a.ID, o.Hash, o.Kind, o.Life, o.Method, o.Client.IP, o.Client.UserAgent, o.Maker, a.Epoch).
		Scan(&s.ID, &s.UUID, &s.CreatedAt, &s.ExpiresAt)
	if errors.Is(err, pgx.ErrNoRows) {
		return s, domain.ErrInvalidPassword
	}
	return s, err
}

// Maker is the API key that limits what is made with a credential; nil for none. The credential stays until the end of the
// unit of work; ErrInvalid: it is gone, the identity is older than that. session 0 is the installation itself.
func (t Tx) Maker(ctx context.Context, session int32) (maker *int32, err error) {
	if session == 0 {
		return nil, nil
	}
	err = t.QueryRow(ctx, `
		SELECT coalesce(maker, CASE WHEN kind = 'apikey' THEN id END) FROM token WHERE id = $1 FOR KEY SHARE`, session).Scan(&maker)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, identity.ErrInvalid
	}
	return maker, err
}

// CreateToken makes a token that ends at expires, or never when it is nil. session is the one that asks, 0 for none.
func (t Tx) CreateToken(ctx context.Context, account, session int32, hash []byte, expires *time.Time, description string) error {
	state, err := t.LockAccount(ctx, account)
	if err != nil {
		return err
	}
	if state != domain.Active {
		return identity.ErrInvalid
	}
	maker, err := t.Maker(ctx, session)
	if err != nil {
		return err
	}
	var id int32
	err = t.QueryRow(ctx, `
		INSERT INTO token (account_id, hash, sliding, expires_at, description, maker)
		SELECT $1, $2, false, $3::timestamptz, $4, $6
		WHERE (SELECT count(*) FROM token WHERE account_id = $1 AND NOT sliding AND kind IS NULL) < $5
		RETURNING id`,
		account, hash, expires, description, domain.MaxTokens, maker).Scan(&id)
	if errors.Is(err, pgx.ErrNoRows) {
		return domain.ErrTooManyTokens
	}
	if err != nil {
		return err
	}
	audit.Of(ctx).Object("token", id)
	return nil
}

// DeleteDead removes tokens and one-time keys that ended and counters of failed logins that no longer count.
func (s *Store) DeleteDead(ctx context.Context, ttl time.Duration) error {
	if _, err := s.pool.Exec(ctx, `DELETE FROM login_failure WHERE since < now() - `+minutes(domain.LoginWindow)); err != nil {
		return err
	}
	if _, err := s.pool.Exec(ctx, `DELETE FROM login_key WHERE expires_at < now()`); err != nil {
		return err
	}
	_, err := s.pool.Exec(ctx, `
		DELETE FROM token t
		WHERE NOT `+tokenLives+` AND (t.kind IS DISTINCT FROM 'apikey' OR t.expires_at < now() - $2::interval)`, ttl, domain.APIKeyShown)
	return err
}
