package setting

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"slipway.dev/pkg/unit"
)

// Quarantine is the SQL expression for the setting quarantine_seconds; null while the setting has its default.
const Quarantine = `(SELECT value::integer FROM setting WHERE name = '` + quarantineSeconds + `')`

// load returns the value of a setting, and "" for one that still has its default.
func load(ctx context.Context, db *unit.DB, name string) (value string, err error) {
	err = db.QueryRow(ctx, `SELECT value FROM setting WHERE name = $1`, name).Scan(&value)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", nil
	}
	return value, err
}

// save stores the value of a setting.
func save(ctx context.Context, tx *unit.Tx, name, value string) error {
	_, err := tx.Exec(ctx, `
		INSERT INTO setting (name, value) VALUES ($1, $2)
		ON CONFLICT (name) DO UPDATE SET value = excluded.value`, name, value)
	return err
}
