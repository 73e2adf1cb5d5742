package credential

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
	"google.golang.org/grpc/codes"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/identity"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/auth/internal/account"
)

// maxChain is the greatest number of makers of a credential.
const maxChain = 16

// ErrChain refuses to make a credential whose chain of makers is too long.
var ErrChain = fault.New(codes.FailedPrecondition, "TOO_MANY_MAKERS",
	"the credential was itself made by a chain of credentials that is too long: log in")

// Chain is the credential by which another one is made, and its makers. The one that is made is limited by each of them, and ends
// when any of them ends.
type Chain struct {
	// Maker is the id of the credential; nil for a session that a password opened: that stands for its account.
	Maker *int32
	// Key reports whether an API key is among them.
	Key bool
}

// ChainOf returns the chain that begins with the credential of a caller. It locks the credential until the end of the unit of
// work. ErrInvalid: the credential has been deleted since the identity was signed. session 0 is a caller without one.
func ChainOf(ctx context.Context, tx *unit.Tx, session int32) (c Chain, err error) {
	if session == 0 {
		return c, nil
	}
	err = tx.QueryRow(ctx, `
		SELECT CASE WHEN t.method = 'password' AND `+SessionSQL+` THEN t.maker ELSE t.id END
		FROM token t WHERE t.id = $1 FOR KEY SHARE`, session).Scan(&c.Maker)
	if errors.Is(err, pgx.ErrNoRows) {
		return c, identity.ErrInvalid
	}
	if err != nil || c.Maker == nil {
		return c, err
	}
	var length int
	err = tx.QueryRow(ctx, `
		WITH RECURSIVE chain AS (
			SELECT maker, kind FROM token WHERE id = $1
			UNION ALL SELECT m.maker, m.kind FROM token m JOIN chain ON m.id = chain.maker)
		SELECT count(*), coalesce(bool_or(kind = 'apikey'), false) FROM chain`, *c.Maker).Scan(&length, &c.Key)
	if err == nil && length >= maxChain {
		err = ErrChain
	}
	return c, err
}

// OutdateMade revokes the identities of the accounts whose credentials this account or its credentials made, directly or by
// others, before these end.
func OutdateMade(ctx context.Context, tx *unit.Tx, by int32) error {
	return outdateMade(ctx, tx, by, `account_id = $1 OR made_by = $1`, by)
}

// OutdateChain revokes the identities that were signed for a credential and for all that it made, directly or by others.
func OutdateChain(ctx context.Context, tx *unit.Tx, id int32) error {
	return outdateMade(ctx, tx, 0, `id = $1`, id)
}

// outdateMade revokes the identities of the accounts of credentials, but for one account, and of all that these credentials made.
// which is SQL over token with arg as $1.
func outdateMade(ctx context.Context, tx *unit.Tx, but int32, which string, arg any) error {
	rows, err := tx.Query(ctx, `
		WITH RECURSIVE made AS (
			SELECT id, account_id FROM token WHERE `+which+`
			UNION SELECT t.id, t.account_id FROM token t JOIN made ON t.maker = made.id)
		SELECT DISTINCT account_id FROM made WHERE account_id <> $2 ORDER BY account_id`, arg, but)
	if err != nil {
		return err
	}
	accounts, err := pgx.CollectRows(rows, pgx.RowTo[int32])
	if err != nil {
		return err
	}
	return account.Outdate(ctx, tx, accounts...)
}
