package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"slipway.dev/services/auth/internal/domain"
)

// number is SQL of a setting: what it was set to, or its default. Read where it is used, a change counts at once and
// in every process.
func number(name string) string {
	s, err := domain.SettingOf(name)
	if err != nil {
		panic(err) // a name that this package wrote
	}
	return fmt.Sprintf(`coalesce((SELECT value::integer FROM setting WHERE name = '%s'), %d)`, s.Name, s.Default)
}

// minutes is SQL of a setting as an interval.
func minutes(name string) string { return `(` + number(name) + ` * interval '1 minute')` }

// Setting reads a setting; "" when it was never set.
func (s *Store) Setting(ctx context.Context, name string) (value string, err error) {
	err = s.pool.QueryRow(ctx, `SELECT value FROM setting WHERE name = $1`, name).Scan(&value)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", nil
	}
	return value, err
}

// Settings reads all that were set, and the number of the last change.
func (s *Store) Settings(ctx context.Context) (values map[string]string, lastNotify int32, err error) {
	rows, err := s.pool.Query(ctx, `
		SELECT coalesce(s.name, ''), coalesce(s.value, ''), (n.last_value & 2147483647)::integer
		FROM notify n LEFT JOIN setting s ON true`)
	if err != nil {
		return nil, 0, err
	}
	values = map[string]string{}
	var name, value string
	_, err = pgx.ForEachRow(rows, []any{&name, &value, &lastNotify}, func() error {
		values[name] = value
		return nil
	})
	return values, lastNotify, err
}

// PasswordMinLength is how many characters a new password must have.
func (s *Store) PasswordMinLength(ctx context.Context) (n int, err error) {
	err = s.pool.QueryRow(ctx, `SELECT `+number(domain.PasswordMinLength)).Scan(&n)
	return n, err
}

// SetSetting stores a setting.
func (t Tx) SetSetting(ctx context.Context, name, value string) error {
	_, err := t.Exec(ctx, `
		INSERT INTO setting (name, value) VALUES ($1, $2)
		ON CONFLICT (name) DO UPDATE SET value = excluded.value`, name, value)
	return err
}
