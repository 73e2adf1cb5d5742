package introspect

import (
	"context"
	"errors"
	"net/netip"
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
	Scopes   []string // that its own limits and those of its makers leave; nil: not limited
}

// live selects a credential that is good now and whose makers all are.
func live(which string) string {
	return `
	SELECT t.id, ` + account.IdentityColumns + `,
	       least(CASE WHEN t.sliding THEN least(t.last_used + i.idle, t.created_at + i.age) ELSE t.expires_at END, made.ends) - now(),
	       t.last_used < now() - least(interval '1 minute', i.idle / 4) OR t.kind IS NOT DISTINCT FROM 'apikey' AND t.last_used = t.created_at,
	       t.created_at, t.method, ` + credential.KindSQL + `, t.scopes, t.cidrs, made.scopes, made.cidrs
	FROM token t JOIN user_account ON user_account.id = t.account_id
	CROSS JOIN (SELECT ` + setting.Idle + ` AS idle, ` + setting.MaxAge() + ` AS age) i
	LEFT JOIN LATERAL (` + makers + `) made ON t.maker IS NOT NULL
	WHERE user_account.state = 'active'
	  AND (t.sliding OR coalesce(t.expires_at > now(), true))
	  AND (NOT t.sliding OR least(t.last_used + i.idle, t.created_at + i.age) > now())
	  AND coalesce(made.ends > now(), true) AND coalesce(made.active, true) AND ` + which
}

// makers selects what the makers of a credential t limit it to: their limits of scopes and networks as lists of lists. A session
// that a one-time key opened for another account is used elsewhere than the credential that made the key, so the networks of that
// account do not bind it; they bind what it makes.
const makers = `
	WITH RECURSIVE chain AS (
		SELECT m.* FROM token m WHERE m.id = t.maker
		UNION ALL SELECT m.* FROM token m JOIN chain ON m.id = chain.maker)
	SELECT min(CASE WHEN c.sliding THEN least(c.last_used + i.idle, c.created_at + i.age) ELSE c.expires_at END) AS ends,
	       bool_and(a.state = 'active') AS active,
	       jsonb_agg(to_jsonb(c.scopes)) FILTER (WHERE c.scopes IS NOT NULL) AS scopes,
	       jsonb_agg(to_jsonb(c.cidrs)) FILTER (
	           WHERE c.cidrs <> '{}' AND (t.method <> 'key' OR c.account_id = t.account_id)) AS cidrs
	FROM chain c JOIN user_account a ON a.id = c.account_id`

var (
	byHash = live(`t.hash = $2`)
	// byUUID is for sessions with refresh tokens.
	byUUID = live(`t.uuid = $2 AND t.kind = 'refresh'`)
)

// use looks a credential up for a client and notes that it was used: at most once a minute, and for short lives more
// often. ttl is the default of setting.Idle.
func use(ctx context.Context, db *unit.DB, query string, arg any, ttl time.Duration, ip string) (Live, error) {
	var l Live
	var own []string
	var networks []netip.Prefix
	var scopes [][]string      // of the makers
	var cidrs [][]netip.Prefix // of the makers
	var stale bool
	fields := append([]any{&l.ID}, l.Account.IdentityFields()...)
	err := db.QueryRow(ctx, query, ttl, arg).Scan(append(fields,
		&l.Left, &stale, &l.IssuedAt, &l.Method, &l.Kind, &own, &networks, &scopes, &cidrs)...)
	if errors.Is(err, pgx.ErrNoRows) {
		return l, identity.ErrInvalid
	}
	if err != nil {
		return l, err
	}
	limits := limitOf(append(scopes, own), append(cidrs, networks))
	if !limits.admits(ip) {
		return l, identity.ErrInvalid
	}
	l.Scopes = limits.scopes
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
