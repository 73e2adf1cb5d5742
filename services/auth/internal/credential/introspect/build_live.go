package introspect

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/identity"
	"slipway.dev/pkg/pg"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/auth/internal/account"
	"slipway.dev/services/auth/internal/credential"
	"slipway.dev/services/auth/internal/setting"
)

// Live is a credential that is good now, by the clock of the database, and its account.
type Live struct {
	ID       int32
	Account  account.Account
	Left     *time.Duration // until it ends; nil is never
	IssuedAt time.Time
	Method   string
	Kind     string   // "session" and "token" included
	Scopes   []string // that its own limits and those of the API key that made it leave; nil: not limited
}

// live selects a credential that is good now. A session that a one-time key opened is used elsewhere than the API key
// that made the one-time key.
func live(which string) string {
	return `
	SELECT t.id, ` + account.IdentityColumns + `,
	       least(CASE WHEN t.sliding THEN least(t.last_used + i.idle, t.created_at + i.age) ELSE t.expires_at END, m.expires_at) - now(),
	       t.last_used < now() - least(interval '1 minute', i.idle / 4) OR t.kind IS NOT DISTINCT FROM 'apikey' AND t.last_used = t.created_at,
	       t.created_at, t.method, ` + credential.KindSQL + `, t.scopes, t.cidrs, m.scopes,
	       CASE WHEN t.method <> 'key' THEN coalesce(m.cidrs, '{}') ELSE '{}' END
	FROM token t JOIN user_account ON user_account.id = t.account_id LEFT JOIN token m ON m.id = t.maker
	CROSS JOIN (SELECT ` + setting.Idle + ` AS idle, ` + setting.MaxAge() + ` AS age) i
	WHERE state = 'active'
	  AND (t.sliding OR coalesce(t.expires_at > now(), true))
	  AND (NOT t.sliding OR least(t.last_used + i.idle, t.created_at + i.age) > now())
	  AND coalesce(m.expires_at > now(), true) AND ` + which
}

var (
	byHash = live(`t.hash = $2`)
	// byUUID is for sessions with refresh tokens.
	byUUID = live(`t.uuid = $2 AND t.kind = 'refresh'`)
)

// use looks a credential up for a client and notes that it was used: at most once a minute, and for short lives more
// often. ttl is the default of setting.Idle.
func use(ctx context.Context, db *unit.DB, query string, arg any, ttl time.Duration, ip string) (Live, error) {
	var l Live
	var own, made limit // made is the limit of the API key that made the credential
	var stale bool
	fields := append([]any{&l.ID}, l.Account.IdentityFields()...)
	err := db.QueryRow(ctx, query, ttl, arg).Scan(append(fields,
		&l.Left, &stale, &l.IssuedAt, &l.Method, &l.Kind, &own.scopes, &own.cidrs, &made.scopes, &made.cidrs)...)
	if errors.Is(err, pgx.ErrNoRows) || err == nil && !(own.admits(ip) && made.admits(ip)) {
		return l, identity.ErrInvalid
	}
	if err != nil {
		return l, err
	}
	l.Scopes = both(own, made)
	if !stale {
		return l, nil
	}
	_, err = db.Exec(ctx, `
		UPDATE token SET last_used = now(), ip = $2
		WHERE id = $1 AND (last_used < now() - interval '1 second' OR last_used = created_at)`, l.ID, ip)
	if errors.Is(err, pg.ErrUnknownCommit) {
		err = fault.Unavailable.Wrap(err) // the time of the last use does no harm when it is written twice
	}
	return l, err
}
