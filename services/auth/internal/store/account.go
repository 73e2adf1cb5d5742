package store

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	authpb "slipway.dev/proto/auth/v4"
	querypb "slipway.dev/proto/query/v1"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/identity"
	"slipway.dev/pkg/pg"
	"slipway.dev/pkg/query"
	"slipway.dev/services/auth/internal/domain"
)

const (
	accountColumns = `id, email, password_hash, roles, state, auth_source, epoch, revision, ` + profileColumns + `, ` + grants
	profileColumns = `full_name, lang, phone_number, note, created_at, ` + hasTOTP + ` AS totp`
	hasTOTP        = `EXISTS (SELECT FROM totp f WHERE f.account_id = user_account.id AND f.confirmed_at IS NOT NULL)`
	// grants are what the custom roles of a row of user_account allow.
	grants = `
		ARRAY(SELECT DISTINCT s FROM role r, unnest(r.scopes) s WHERE r.name = ANY(user_account.roles) AND NOT r.reach_all) AS own_scopes,
		ARRAY(SELECT DISTINCT s FROM role r, unnest(r.scopes) s WHERE r.name = ANY(user_account.roles) AND r.reach_all) AS all_scopes`
)

const onlyAccount = `$1::integer = 0 OR id = $1`

// accounts lists no password hashes, nor can they be filtered by.
var accounts = query.List{
	From: "user_account", Columns: "id, email, roles, state, auth_source, " + profileColumns, LastNotify: lastChange,
	Fields: map[string]query.Field{
		"id":          {SQL: "id", Type: query.Int},
		"email":       {SQL: "email", Type: query.Mail},
		"state":       {SQL: "state", Type: query.Text},
		"roles":       {SQL: "role", Type: query.Text, Each: "unnest(user_account.roles) AS role WHERE true"},
		"auth_source": {SQL: "auth_source", Type: query.Text},

		"full_name":    {SQL: "full_name", Type: query.Text},
		"lang":         {SQL: "lang", Type: query.Text},
		"phone_number": {SQL: "phone_number", Type: query.Text},
		"note":         {SQL: "note", Type: query.Text},
		"created":      {SQL: "created_at", Type: query.Time},
		"totp":         {SQL: hasTOTP, Type: query.Bool},
	},
}

// Accounts lists accounts, without their password hashes. only is the one that may be seen, 0 for all.
func (s *Store) Accounts(ctx context.Context, q *querypb.Query, only int32) (query.Rows[domain.Account], error) {
	return query.Read[domain.Account](ctx, s.lists, accounts, q, query.Scope{SQL: onlyAccount, Args: []any{only}})
}

// Account reads one account.
func (s *Store) Account(ctx context.Context, id int32) (domain.Account, error) {
	return s.account(ctx, `SELECT `+accountColumns+` FROM user_account WHERE id = $1`, id)
}

// AccountByEmail reads one account by its folded e-mail.
func (s *Store) AccountByEmail(ctx context.Context, email string) (domain.Account, error) {
	return s.account(ctx, `SELECT `+accountColumns+` FROM user_account WHERE email = $1`, email)
}

// FirstAdmin reads the oldest active administrator.
func (s *Store) FirstAdmin(ctx context.Context) (domain.Account, error) {
	return s.account(ctx, `
		SELECT `+accountColumns+` FROM user_account
		WHERE state = 'active' AND $1 = ANY(roles) ORDER BY id LIMIT 1`, identity.RoleAdmin)
}

func (s *Store) account(ctx context.Context, sql string, arg any) (domain.Account, error) {
	rows, err := s.pool.Query(ctx, sql, arg)
	if err != nil {
		return domain.Account{}, err
	}
	a, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[domain.Account])
	if errors.Is(err, pgx.ErrNoRows) {
		return a, fault.NotFound.With("no such account")
	}
	return a, err
}

// AnyAccount reports whether there is one at all.
func (t Tx) AnyAccount(ctx context.Context) (ok bool, err error) {
	err = t.QueryRow(ctx, `SELECT EXISTS (SELECT FROM user_account)`).Scan(&ok)
	return ok, err
}

// CreateAccount inserts a, tells it, and returns its id.
func (t Tx) CreateAccount(ctx context.Context, a domain.Account) (int32, error) {
	err := t.QueryRow(ctx, `
		INSERT INTO user_account (email, password_hash, roles, full_name, lang, phone_number, note) VALUES ($1, $2, $3, $4, $5, $6, $7)
		RETURNING id, state`, a.Email, a.PasswordHash, a.Roles, a.FullName, a.Lang, a.PhoneNumber, a.Note).Scan(&a.ID, &a.State)
	if err := emailTaken(err, a.Email); err != nil {
		return 0, err
	}
	return a.ID, t.emit(ctx, "auth.v4.user.created", a.ID, &authpb.UserChanged{
		Id: a.ID, Email: a.Email, Roles: a.Roles, State: a.State,
	})
}

// emailTaken says so where err is about that.
func emailTaken(err error, email string) error {
	if pg.IsUnique(err, "user_account_email") {
		return fault.Conflict.With("an account with the e-mail %s exists already", email).On("email")
	}
	return err
}

// LockAccount holds an account until the end of the unit of work, so that its state and what is counted of it stay true.
func (t Tx) LockAccount(ctx context.Context, id int32) (state string, err error) {
	err = t.QueryRow(ctx, `SELECT state FROM user_account WHERE id = $1 FOR NO KEY UPDATE`, id).Scan(&state)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", fault.NotFound.With("no such account")
	}
	return state, err
}

// SetPasswordHash replaces the hash of the same password.
func (t Tx) SetPasswordHash(ctx context.Context, id int32, old, hash string) error {
	_, err := t.Exec(ctx, `
		UPDATE user_account SET password_hash = $3 WHERE id = $1 AND password_hash = $2`, id, old, hash)
	return err
}
