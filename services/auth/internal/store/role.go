package store

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	querypb "slipway.dev/proto/query/v1"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/pg"
	"slipway.dev/pkg/query"
	"slipway.dev/services/auth/internal/domain"
)

const (
	roleAccounts = `(SELECT count(*) FROM user_account WHERE roles @> ARRAY[role.name])::integer`
	roleColumns  = `id, name, description, scopes, reach_all, builtin, ` + roleAccounts + ` AS account_count`
)

var roles = query.List{
	From: "role", Columns: roleColumns, LastNotify: lastChange,
	Fields: map[string]query.Field{
		"id":            {SQL: "id", Type: query.Int},
		"name":          {SQL: "name", Type: query.Text},
		"description":   {SQL: "description", Type: query.Text},
		"scopes":        {SQL: "scope", Type: query.Text, Each: "unnest(role.scopes) AS scope WHERE true"},
		"all":           {SQL: "reach_all", Type: query.Bool},
		"builtin":       {SQL: "builtin", Type: query.Bool},
		"account_count": {SQL: roleAccounts, Type: query.Int},
	},
}

var errNoRole = fault.NotFound.With("no such role")

// Roles lists roles.
func (s *Store) Roles(ctx context.Context, q *querypb.Query) (query.Rows[domain.Role], error) {
	return query.Read[domain.Role](ctx, s.lists, roles, q, query.Scope{})
}

// Role reads one role.
func (s *Store) Role(ctx context.Context, id int32) (domain.Role, error) {
	return role(ctx, s.pool, `id = $1`, id)
}

// Role reads a role and holds it until the end of the unit of work.
func (t Tx) Role(ctx context.Context, id int32) (domain.Role, error) {
	return role(ctx, t, `id = $1 FOR UPDATE`, id)
}

func role(ctx context.Context, db pg.DB, where string, args ...any) (domain.Role, error) {
	rows, err := db.Query(ctx, `SELECT `+roleColumns+` FROM role WHERE `+where, args...)
	if err != nil {
		return domain.Role{}, err
	}
	r, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[domain.Role])
	if errors.Is(err, pgx.ErrNoRows) {
		return r, errNoRole
	}
	return r, err
}

// RolesNamed reads the roles of these names; missing is a name that no role has. They stay as they are until the end of the
// unit of work.
func (t Tx) RolesNamed(ctx context.Context, names []string) (list []domain.Role, missing string, err error) {
	for _, name := range names {
		r, err := role(ctx, t, `name = $1 FOR SHARE`, name)
		switch {
		case errors.Is(err, errNoRole):
			return nil, name, nil
		case err != nil:
			return nil, "", err
		}
		list = append(list, r)
	}
	return list, "", nil
}

// CreateRole inserts r and returns its id.
func (t Tx) CreateRole(ctx context.Context, r domain.Role) (id int32, err error) {
	err = t.QueryRow(ctx, `
		INSERT INTO role (name, description, scopes, reach_all) VALUES ($1, $2, $3, $4) RETURNING id`,
		r.Name, r.Description, r.Scopes, r.ReachAll).Scan(&id)
	if pg.IsUnique(err, "role_name") {
		return 0, fault.Conflict.With("a role named %s exists already", r.Name).On("name")
	}
	return id, err
}

// SaveRole stores what may change of a role.
func (t Tx) SaveRole(ctx context.Context, r domain.Role) error {
	_, err := t.Exec(ctx, `UPDATE role SET description = $2, scopes = $3, reach_all = $4 WHERE id = $1`,
		r.ID, r.Description, r.Scopes, r.ReachAll)
	return err
}

// OutdateRole makes the identities worth nothing that accounts with this role have up to now: the role allows something else.
func (t Tx) OutdateRole(ctx context.Context, name string) error {
	rows, err := t.Query(ctx, `SELECT id FROM user_account WHERE roles @> ARRAY[$1::text] ORDER BY id`, name)
	if err != nil {
		return err
	}
	accounts, err := pgx.CollectRows(rows, pgx.RowTo[int32])
	if err != nil {
		return err
	}
	for _, id := range accounts {
		if err := t.outdate(ctx, id); err != nil {
			return err
		}
	}
	return nil
}

// DeleteRole removes a role that no account has.
func (t Tx) DeleteRole(ctx context.Context, id int32) error {
	tag, err := t.Exec(ctx, `DELETE FROM role WHERE id = $1 AND `+roleAccounts+` = 0`, id)
	if err == nil && tag.RowsAffected() == 0 {
		return domain.ErrRoleInUse
	}
	return err
}
