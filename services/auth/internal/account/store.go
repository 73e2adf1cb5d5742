package account

import (
	"context"
	"errors"
	"math"
	"strconv"

	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/proto"

	authpb "slipway.dev/proto/auth/v4"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/identity"
	"slipway.dev/pkg/pg"
	"slipway.dev/pkg/unit"
)

// Find reads one account.
func Find(ctx context.Context, db *unit.DB, id int32) (Account, error) {
	return find(ctx, db, `id = $1`, id)
}

// FindByEmail reads one account by its folded e-mail.
func FindByEmail(ctx context.Context, db *unit.DB, email string) (Account, error) {
	return find(ctx, db, `email = $1`, email)
}

// Load reads an account and locks it until the end of the unit of work.
func Load(ctx context.Context, tx *unit.Tx, id int32) (Account, error) {
	return find(ctx, tx, `id = $1 FOR NO KEY UPDATE`, id)
}

// FirstAdmin reads the oldest active administrator.
func FirstAdmin(ctx context.Context, db *unit.DB) (Account, error) {
	return find(ctx, db, `state = 'active' AND $1 = ANY(roles) ORDER BY id LIMIT 1`, identity.RoleAdmin)
}

func find(ctx context.Context, db pg.DB, where string, arg any) (Account, error) {
	rows, err := db.Query(ctx, `SELECT `+columns+` FROM user_account WHERE `+where, arg)
	if err != nil {
		return Account{}, err
	}
	a, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[Account])
	if errors.Is(err, pgx.ErrNoRows) {
		return a, fault.NotFound.With("no such account")
	}
	return a, err
}

// Create inserts an account, emits an event, and returns the id.
func Create(ctx context.Context, tx *unit.Tx, a Account) (int32, error) {
	err := tx.QueryRow(ctx, `
		INSERT INTO user_account (email, password_hash, roles, full_name, lang, phone_number, note) VALUES ($1, $2, $3, $4, $5, $6, $7)
		RETURNING id, state`, a.Email, a.PasswordHash, a.Roles, a.FullName, a.Lang, a.PhoneNumber, a.Note).Scan(&a.ID, &a.State)
	if err := emailTaken(err, a.Email); err != nil {
		return 0, err
	}
	return a.ID, emit(ctx, tx, "auth.v4.user.created", a.ID, changed(a))
}

// Save stores what may change of an account and emits an event.
func Save(ctx context.Context, tx *unit.Tx, a Account) error {
	_, err := tx.Exec(ctx, `
		UPDATE user_account SET password_hash = $2, roles = $3, state = $4, epoch = $5, email = $6,
			full_name = $7, lang = $8, phone_number = $9, note = $10
		WHERE id = $1`,
		a.ID, a.PasswordHash, a.Roles, a.State, a.Epoch, a.Email, a.FullName, a.Lang, a.PhoneNumber, a.Note)
	if err := emailTaken(err, a.Email); err != nil {
		return err
	}
	return emit(ctx, tx, "auth.v4.user.updated", a.ID, changed(a))
}

// SetPasswordHash replaces the hash of the same password.
func SetPasswordHash(ctx context.Context, tx *unit.Tx, id int32, old, hash string) error {
	_, err := tx.Exec(ctx, `
		UPDATE user_account SET password_hash = $3 WHERE id = $1 AND password_hash = $2`, id, old, hash)
	return err
}

// Delete removes an account with all rows that refer to it, and emits events. The one about the deletion is the promise that
// what other services have of the account goes to its heir: it commits with the deletion, and each service keeps it.
func Delete(ctx context.Context, tx *unit.Tx, gone *authpb.UserDeleted) error {
	if _, err := tx.Exec(ctx, `DELETE FROM user_account WHERE id = $1`, gone.GetId()); err != nil {
		return err
	}
	if err := revoked(ctx, tx, gone.GetId(), math.MaxInt32); err != nil {
		return err
	}
	return emit(ctx, tx, "auth.v4.user.deleted", gone.GetId(), gone)
}

// Heir returns the account that gets what a deleted account has: that of by, who deletes it, or the first active administrator if
// by deletes its own.
func Heir(ctx context.Context, tx *unit.Tx, gone, by int32) (heir int32, err error) {
	if gone != by {
		return by, nil
	}
	err = tx.QueryRow(ctx, `
		SELECT id FROM user_account WHERE id <> $1 AND state = 'active' AND $2 = ANY(roles) ORDER BY id LIMIT 1`,
		gone, identity.RoleAdmin).Scan(&heir)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, errLastAdmin
	}
	return heir, err
}

// idPage is the length of a page of ids.
const idPage = 1000

// IDsAfter returns a page of the ids of all accounts, those above after.
func IDsAfter(ctx context.Context, db *unit.DB, after int32) ([]int32, error) {
	rows, err := db.Query(ctx, `SELECT id FROM user_account WHERE id > $1 ORDER BY id LIMIT $2`, after, idPage)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[int32])
}

// Outdate revokes the identities of accounts that were signed up to now, and emits an event for each account.
func Outdate(ctx context.Context, tx *unit.Tx, ids ...int32) error {
	for _, id := range ids {
		var revision int32
		err := tx.QueryRow(ctx, `
			UPDATE user_account SET revision = revision + 1 WHERE id = $1 RETURNING revision`, id).Scan(&revision)
		if err != nil {
			return err
		}
		if err := revoked(ctx, tx, id, revision); err != nil {
			return err
		}
	}
	return nil
}

// ShareSQL returns SQL that selects id, email and epoch of the active account whose id is the SQL id, and locks the
// account against changes until the end of the unit of work.
func ShareSQL(id string) string {
	return `SELECT id, email, epoch FROM user_account WHERE state = 'active' AND id = ` + id + ` FOR SHARE`
}

// KeepAdmin refuses a change by which the last active administrator would lose that right.
func KeepAdmin(ctx context.Context, tx *unit.Tx, was, is Account) error {
	if !was.administers() || is.administers() {
		return nil
	}
	var other bool
	err := tx.QueryRow(ctx, `
		SELECT EXISTS (SELECT FROM user_account WHERE id <> $1 AND state = 'active' AND $2 = ANY(roles))`,
		was.ID, identity.RoleAdmin).Scan(&other)
	if err == nil && !other {
		return errLastAdmin
	}
	return err
}

// emailTaken returns a conflict where err is about an e-mail that another account has.
func emailTaken(err error, email string) error {
	if pg.IsUnique(err, "user_account_email") {
		return fault.Conflict.With("an account with the e-mail %s exists already", email).On("email")
	}
	return err
}

func changed(a Account) *authpb.UserChanged {
	return &authpb.UserChanged{Id: a.ID, Email: a.Email, Roles: a.Roles, State: a.State}
}

// revoked emits that identities of an account below a revision are refused from now on.
func revoked(ctx context.Context, tx *unit.Tx, id, revision int32) error {
	return emit(ctx, tx, "auth.v4.session.revoked", id, &authpb.SessionRevoked{AccountId: id, Revision: revision})
}

// emit adds an event about an account.
func emit(ctx context.Context, tx *unit.Tx, subject string, id int32, m proto.Message) error {
	return tx.Emit(ctx, subject, strconv.Itoa(int(id)), m)
}
