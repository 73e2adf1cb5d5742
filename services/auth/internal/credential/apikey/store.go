package apikey

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"slipway.dev/pkg/identity"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/auth/internal/account"
	"slipway.dev/services/auth/internal/credential"
)

// load reads and locks an API key of an account.
func load(ctx context.Context, tx *unit.Tx, account, id int32) (apiKey, error) {
	rows, err := tx.Query(ctx, `SELECT `+columns+` FROM token WHERE `+ownedBy+` AND id = $2 FOR NO KEY UPDATE`, account, id)
	return collect(rows, err)
}

// create stores a key. session is the credential that asks, 0 for none.
func create(ctx context.Context, tx *unit.Tx, k apiKey, session int32, hash []byte) (id int32, err error) {
	a, err := account.Load(ctx, tx, k.AccountID)
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
		INSERT INTO token (kind, account_id, hash, sliding, description, hint, scopes, cidrs, expires_at, maker)
		SELECT 'apikey', $1, $2, false, $3, $4, $5::text[], $6::cidr[], $7::timestamptz, $8::integer
		WHERE (SELECT count(*) FROM token WHERE account_id = $1 AND kind = 'apikey') < $9
		RETURNING id`,
		k.AccountID, hash, k.Name, k.Hint, k.Scopes, k.CIDRs, k.ExpiresAt, chain.Maker, maxKeys).Scan(&id)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, errTooMany
	}
	return id, err
}

// save stores what may change of a key and emits that the key can do less.
func save(ctx context.Context, tx *unit.Tx, k apiKey) error {
	_, err := tx.Exec(ctx, `
		UPDATE token SET description = $2, scopes = $3, cidrs = $4, expires_at = $5 WHERE id = $1`,
		k.ID, k.Name, k.Scopes, k.CIDRs, k.ExpiresAt)
	if err != nil {
		return err
	}
	return credential.OutdateChain(ctx, tx, k.ID)
}

// end ends a key of an account, 0 for any, with all that it made.
func end(ctx context.Context, tx *unit.Tx, owner, id int32) error {
	_, err := credential.Delete(ctx, tx, owner, "t.id = $2 AND t.kind = 'apikey'", id)
	return err
}
