package credential

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	authpb "slipway.dev/proto/auth/v4"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/auth/internal/account"
)

// apiKeyShown is how long an API key stays in the lists after its end, so that its owner finds out why it is refused.
const apiKeyShown = 30 * 24 * time.Hour

// Delete ends one credential and all that it made, directly or by others, and emits events. owner is the account that it
// must belong to, 0 for any; which is SQL over a row t of token, with args from $2 on. It returns the id of the credential.
func Delete(ctx context.Context, tx *unit.Tx, owner int32, which string, args ...any) (id int32, err error) {
	var of int32
	var made []int32
	err = tx.QueryRow(ctx, `
		WITH gone AS (DELETE FROM token t WHERE ($1::integer = 0 OR account_id = $1) AND (`+which+`) RETURNING id, account_id)
		SELECT id, account_id, ARRAY(
			WITH RECURSIVE made AS (
				SELECT id, account_id FROM token WHERE maker = gone.id
				UNION SELECT t.id, t.account_id FROM token t JOIN made ON t.maker = made.id)
			SELECT DISTINCT account_id FROM made ORDER BY account_id) FROM gone`,
		append([]any{owner}, args...)...).Scan(&id, &of, &made)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, fault.NotFound.With("no such token")
	}
	if err != nil {
		return 0, err
	}
	if err := account.Outdate(ctx, tx, made...); err != nil {
		return 0, err
	}
	return id, Revoked(ctx, tx, of, id, "")
}

// End ends the sessions and one-time keys of an account, those that it made for other accounts too, with all also its tokens and
// API keys, which have a lifetime of their own, and emits events. The credential with the id but goes on.
func End(ctx context.Context, tx *unit.Tx, of int32, all bool, but int32) error {
	if _, err := tx.Exec(ctx, `DELETE FROM login_key WHERE account_id = $1`, of); err != nil {
		return err
	}
	if err := EndMade(ctx, tx, of); err != nil {
		return err
	}
	rows, err := tx.Query(ctx, `
		DELETE FROM token t WHERE account_id = $1 AND (`+SessionSQL+` OR $2) AND id <> $3 RETURNING id`, of, all, but)
	if err != nil {
		return err
	}
	ended, err := pgx.CollectRows(rows, pgx.RowTo[int32])
	if err != nil {
		return err
	}
	if but == 0 {
		return account.Outdate(ctx, tx, of)
	}
	for _, id := range ended { // one by one: the identities of the credential that goes on stay good
		if err := Revoked(ctx, tx, of, id, ""); err != nil {
			return err
		}
	}
	return nil
}

// EndMade ends the one-time keys that accounts made, and the sessions that such keys opened for other accounts, and emits events.
func EndMade(ctx context.Context, tx *unit.Tx, by ...int32) error {
	for _, id := range by {
		if err := OutdateMade(ctx, tx, id); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `DELETE FROM login_key WHERE made_by = $1`, id); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `DELETE FROM token WHERE made_by = $1 AND account_id <> $1`, id); err != nil {
			return err
		}
	}
	return nil
}

// Revoked emits that a session of an account has ended, and why; "" where its owner or an administrator ended it.
func Revoked(ctx context.Context, tx *unit.Tx, of, session int32, why string) error {
	return tx.Emit(ctx, "auth.v4.session.revoked", strconv.Itoa(int(of)), &authpb.SessionRevoked{
		SessionId: session, AccountId: of, Reason: why,
	})
}

// Clean removes credentials and one-time keys that ended. ttl is the default of setting.Idle.
func Clean(ctx context.Context, db *unit.DB, ttl time.Duration) error {
	if _, err := db.Exec(ctx, `DELETE FROM login_key WHERE expires_at < now()`); err != nil {
		return err
	}
	_, err := db.Exec(ctx, `
		DELETE FROM token t
		WHERE NOT `+LivesSQL()+` AND (t.kind IS DISTINCT FROM 'apikey' OR t.expires_at < now() - $2::interval)`, ttl, apiKeyShown)
	return err
}
