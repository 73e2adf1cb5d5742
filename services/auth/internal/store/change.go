package store

import (
	"context"
	"errors"
	"math"

	"github.com/jackc/pgx/v5"

	authpb "slipway.dev/proto/auth/v4"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/identity"
	"slipway.dev/services/auth/internal/domain"
)

// Account reads an account and holds it until the end of the unit of work.
func (t Tx) Account(ctx context.Context, id int32) (domain.Account, error) {
	rows, err := t.Query(ctx, `SELECT `+accountColumns+` FROM user_account WHERE id = $1 FOR NO KEY UPDATE`, id)
	if err != nil {
		return domain.Account{}, err
	}
	a, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[domain.Account])
	if errors.Is(err, pgx.ErrNoRows) {
		return a, fault.NotFound.With("no such account")
	}
	return a, err
}

// OtherAdmin reports whether there is an active administrator besides this account.
func (t Tx) OtherAdmin(ctx context.Context, id int32) (ok bool, err error) {
	err = t.QueryRow(ctx, `
		SELECT EXISTS (SELECT FROM user_account WHERE id <> $1 AND state = 'active' AND $2 = ANY(roles))`,
		id, identity.RoleAdmin).Scan(&ok)
	return ok, err
}

// SaveAccount stores what may change of an account and tells it.
func (t Tx) SaveAccount(ctx context.Context, a domain.Account) error {
	_, err := t.Exec(ctx, `
		UPDATE user_account SET password_hash = $2, roles = $3, state = $4, epoch = $5, email = $6,
			full_name = $7, lang = $8, phone_number = $9, note = $10
		WHERE id = $1`,
		a.ID, a.PasswordHash, a.Roles, a.State, a.Epoch, a.Email, a.FullName, a.Lang, a.PhoneNumber, a.Note)
	if err := emailTaken(err, a.Email); err != nil {
		return err
	}
	return t.emit(ctx, "auth.v4.user.updated", a.ID, &authpb.UserChanged{
		Id: a.ID, Email: a.Email, Roles: a.Roles, State: a.State,
	})
}

// EndSessions ends the sessions and one-time keys of an account, with all also the tokens and API keys, which have a lifetime
// of their own, and tells it. The one with the id but goes on.
func (t Tx) EndSessions(ctx context.Context, account int32, all bool, but int32) error {
	if _, err := t.Exec(ctx, `DELETE FROM login_key WHERE account_id = $1`, account); err != nil {
		return err
	}
	if err := t.outdateMade(ctx, account, all); err != nil {
		return err
	}
	rows, err := t.Query(ctx, `
		DELETE FROM token t WHERE account_id = $1 AND (`+isSession+` OR $2) AND id <> $3 RETURNING id`, account, all, but)
	if err != nil {
		return err
	}
	ended, err := pgx.CollectRows(rows, pgx.RowTo[int32])
	if err != nil {
		return err
	}
	if but == 0 {
		return t.outdate(ctx, account)
	}
	for _, id := range ended { // one by one: the identities of the one that goes on stay good
		if err := t.revoked(ctx, id, account, 0); err != nil {
			return err
		}
	}
	return nil
}

// DeleteAccount removes an account with all that hangs on it, and tells it.
func (t Tx) DeleteAccount(ctx context.Context, id int32) error {
	if err := t.outdateMade(ctx, id, true); err != nil {
		return err
	}
	if _, err := t.Exec(ctx, `DELETE FROM user_account WHERE id = $1`, id); err != nil {
		return err
	}
	if err := t.revoked(ctx, 0, id, math.MaxInt32); err != nil {
		return err
	}
	return t.emit(ctx, "auth.v4.user.deleted", id, &authpb.UserDeleted{Id: id})
}

// outdateMade is outdate for the other accounts whose sessions end with the API keys of this one, if these end.
func (t Tx) outdateMade(ctx context.Context, account int32, end bool) error {
	if !end {
		return nil
	}
	rows, err := t.Query(ctx, `
		SELECT DISTINCT t.account_id FROM token t JOIN token m ON m.id = t.maker
		WHERE m.account_id = $1 AND t.account_id <> $1 ORDER BY t.account_id`, account)
	if err != nil {
		return err
	}
	others, err := pgx.CollectRows(rows, pgx.RowTo[int32])
	if err != nil {
		return err
	}
	return t.outdate(ctx, others...)
}

// outdate makes the identities of accounts worth nothing that were signed up to now, and tells it.
func (t Tx) outdate(ctx context.Context, accounts ...int32) error {
	for _, account := range accounts {
		var revision int32
		err := t.QueryRow(ctx, `
			UPDATE user_account SET revision = revision + 1 WHERE id = $1 RETURNING revision`, account).Scan(&revision)
		if err != nil {
			return err
		}
		if err := t.revoked(ctx, 0, account, revision); err != nil {
			return err
		}
	}
	return nil
}

func (t Tx) revoked(ctx context.Context, session, account, revision int32) error {
	return t.emit(ctx, "auth.v4.session.revoked", account, &authpb.SessionRevoked{
		SessionId: session, AccountId: account, Revision: revision,
	})
}
