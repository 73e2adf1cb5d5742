package store

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"slipway.dev/services/auth/internal/domain"
)

// Sessions lists sessions of an account, 0: of all, that are good now: those before an id, the newest first.
func (s *Store) Sessions(ctx context.Context, account, before int32, limit int, ttl time.Duration) ([]domain.SessionInfo, error) {
	rows, err := s.pool.Query(ctx, `
		SELECT t.id, t.account_id, t.uuid::text AS uuid, `+tokenKind+` AS kind, a.email, t.ip, t.user_agent, t.method,
		       t.created_at, t.last_used, `+tokenEnds+` AS expires_at
		FROM token t JOIN user_account a ON a.id = t.account_id
		WHERE ($2::integer = 0 OR t.account_id = $2) AND ($3::integer = 0 OR t.id < $3) AND `+isSession+`
		  AND a.state = 'active' AND `+tokenLives+`
		ORDER BY t.id DESC LIMIT $4`, ttl, account, before, limit)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByName[domain.SessionInfo])
}
