package token

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

// create makes a token that ends at expires, or never when it is nil. session is the credential that asks, 0 for none.
func create(ctx context.Context, tx *unit.Tx, of, session int32, hash []byte, expires *time.Time, description string) (id int32, err error) {
	a, err := account.Load(ctx, tx, of)
	if err != nil {
		return 0, err
	}
	if a.State != account.Active {
		return 0, identity.ErrInvalid
	}
	chain, err := credential.ChainOf(ctx, tx, session)
	if err != nil {
		return 0, err
	}
	err = tx.QueryRow(ctx, `
		INSERT INTO token (account_id, hash, sliding, expires_at, description, maker)
		SELECT $1, $2, false, $3::timestamptz, $4, $6
		WHERE (SELECT count(*) FROM token WHERE account_id = $1 AND NOT sliding AND kind IS NULL) < $5
		RETURNING id`,
		of, hash, expires, description, maxTokens, chain.Maker).Scan(&id)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, errTooMany
	}
	return id, err
}
