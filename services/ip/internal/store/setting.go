package store

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
)

// Setting reads a setting; "" when it was never set.
func (s *Store) Setting(ctx context.Context, name string) (value string, err error) {
	err = s.pool.QueryRow(ctx, `SELECT value FROM setting WHERE name = $1`, name).Scan(&value)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", nil
	}
	return value, err
}

// SetSetting stores a setting.
func (t Tx) SetSetting(ctx context.Context, name, value string) error {
	_, err := t.Exec(ctx, `
		INSERT INTO setting (name, value) VALUES ($1, $2)
		ON CONFLICT (name) DO UPDATE SET value = excluded.value`, name, value)
	return err
}
