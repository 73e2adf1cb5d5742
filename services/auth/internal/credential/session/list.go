package session

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"slipway.dev/pkg/unit"
	"slipway.dev/services/auth/internal/credential"
)

// list returns sessions of an account, 0: of all, that are good now: those before an id, the newest first.
func list(ctx context.Context, db *unit.DB, account, before int32, limit int, ttl time.Duration) ([]info, error) {
	rows, err := db.Query(ctx, `
		SELECT t.id, t.account_id, t.uuid::text AS uuid, `+credential.KindSQL+` AS kind, a.email, t.ip, t.user_agent, t.method,
		       t.created_at, t.last_used, `+credential.EndsSQL()+` AS expires_at
		FROM token t JOIN user_account a ON a.id = t.account_id
		WHERE ($2::integer = 0 OR t.account_id = $2) AND ($3::integer = 0 OR t.id < $3) AND `+credential.SessionSQL+`
		  AND a.state = 'active' AND `+credential.LivesSQL()+`
		ORDER BY t.id DESC LIMIT $4`, ttl, account, before, limit)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByName[info])
}
