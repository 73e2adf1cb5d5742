package role

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/pg"
	"slipway.dev/pkg/unit"
)

var errNone = fault.NotFound.With("no such role")

// find reads one role.
func find(ctx context.Context, db pg.DB, where string, args ...any) (role, error) {
	rows, err := db.Query(ctx, `SELECT `+columns+` FROM role WHERE `+where, args...)
	if err != nil {
		return role{}, err
	}
	r, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[role])
	if errors.Is(err, pgx.ErrNoRows) {
		return r, errNone
	}
	return r, err
}

// load reads a role and locks it until the end of the unit of work.
func load(ctx context.Context, tx *unit.Tx, id int32) (role, error) {
	return find(ctx, tx, `id = $1 FOR UPDATE`, id)
}

// create inserts a role and returns its id.
func create(ctx context.Context, tx *unit.Tx, r role) (id int32, err error) {
	err = tx.QueryRow(ctx, `
		INSERT INTO role (name, description, scopes, reach_all) VALUES ($1, $2, $3, $4) RETURNING id`,
		r.Name, r.Description, r.Scopes, r.ReachAll).Scan(&id)
	if pg.IsUnique(err, "role_name") {
		return 0, fault.Conflict.With("a role named %s exists already", r.Name).On("name")
	}
	return id, err
}

// save stores what may change of a role.
func save(ctx context.Context, tx *unit.Tx, r role) error {
	_, err := tx.Exec(ctx, `UPDATE role SET description = $2, scopes = $3, reach_all = $4 WHERE id = $1`,
		r.ID, r.Description, r.Scopes, r.ReachAll)
	return err
}

// remove removes a role that no account has.
func remove(ctx context.Context, tx *unit.Tx, id int32) error {
	tag, err := tx.Exec(ctx, `DELETE FROM role WHERE id = $1 AND `+accountCount+` = 0`, id)
	if err == nil && tag.RowsAffected() == 0 {
		return errInUse
	}
	return err
}
