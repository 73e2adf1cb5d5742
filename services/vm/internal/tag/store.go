package tag

import (
	"context"
	"slices"

	"github.com/jackc/pgx/v5"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/pg"
	"slipway.dev/pkg/unit"
)

// Hold keeps the tags of these names from being deleted before the unit of work ends. It refuses a name that no tag has.
func Hold(ctx context.Context, tx *unit.Tx, names []string) error {
	if len(names) == 0 {
		return nil
	}
	rows, err := tx.Query(ctx, `SELECT name FROM tag WHERE name = ANY($1) ORDER BY id FOR SHARE`, names)
	if err != nil {
		return err
	}
	found, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	for _, name := range names {
		if !slices.Contains(found, name) {
			return fault.Invalid.With("there is no tag %.80q", name).On("tags")
		}
	}
	return nil
}

// insert adds a tag.
func insert(ctx context.Context, tx *unit.Tx, name, note string) (id int32, err error) {
	err = tx.QueryRow(ctx, `INSERT INTO tag (name, note) VALUES ($1, $2) RETURNING id`, name, note).Scan(&id)
	if pg.IsUnique(err, "tag_name_key") {
		return 0, fault.Conflict.With("another tag is named %s", name).On("name")
	}
	return id, err
}

// lock locks a tag and returns its name.
func lock(ctx context.Context, tx *unit.Tx, id int32) (string, error) {
	rows, err := tx.Query(ctx, `SELECT name FROM tag WHERE id = $1 FOR UPDATE`, id)
	if err != nil {
		return "", err
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err == nil && len(names) == 0 {
		err = pg.Missing("tag", id)
	}
	if err != nil {
		return "", err
	}
	return names[0], nil
}

// remove deletes a locked tag.
func remove(ctx context.Context, tx *unit.Tx, id int32) error {
	_, err := tx.Exec(ctx, `DELETE FROM tag WHERE id = $1`, id)
	return err
}
