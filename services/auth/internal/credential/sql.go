package credential

import "slipway.dev/services/auth/internal/setting"

const (
	// KindSQL is SQL for the kind of a row t of token.
	KindSQL = `coalesce(t.kind, CASE WHEN t.sliding THEN 'session' ELSE 'token' END)`
	// SessionSQL is SQL for whether a row t of token is a session.
	SessionSQL = `(t.sliding OR coalesce(t.kind IN ('refresh', 'keystone'), false))`
)

// EndsSQL returns SQL for when a row t of token ends, NULL for never. $1 is the default of setting.Idle.
func EndsSQL() string {
	return `CASE WHEN t.sliding THEN least(t.last_used + ` + setting.Idle + `, t.created_at + ` + setting.MaxAge() + `) ELSE t.expires_at END`
}

// LivesSQL returns SQL for whether a row t of token has not ended. $1 is the default of setting.Idle.
func LivesSQL() string { return `coalesce(` + EndsSQL() + ` > now(), true)` }
