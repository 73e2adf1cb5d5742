package session

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"slipway.dev/pkg/identity"
	"slipway.dev/pkg/unit"
)

// load reads and locks the session of a refresh token, used or not. ErrInvalid: there is none that lives.
func load(ctx context.Context, tx *unit.Tx, hash []byte) (r refreshed, err error) {
	err = tx.QueryRow(ctx, `
		SELECT t.id, t.uuid::text, t.created_at, t.expires_at, t.account_id, s.access, s.idle
		FROM token t JOIN refresh_session s ON s.session = t.id JOIN user_account a ON a.id = t.account_id
		WHERE t.id = (SELECT session FROM refresh_token WHERE hash = $1) AND t.expires_at > now() AND a.state = 'active'
		FOR NO KEY UPDATE OF t`, hash).
		Scan(&r.ID, &r.UUID, &r.CreatedAt, &r.ExpiresAt, &r.account, &r.lives.access, &r.lives.refresh)
	if errors.Is(err, pgx.ErrNoRows) {
		return r, identity.ErrInvalid
	}
	return r, err
}
