package setting

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"slipway.dev/pkg/unit"
)

// Idle is SQL for how long a session may be unused; $1 is the default.
const Idle = `coalesce((SELECT value::integer * interval '1 minute' FROM setting WHERE name = 'token_ttl'), $1::interval)`

// MaxAge returns SQL for how long a session may be used at all; NULL is without end.
func MaxAge() string { return `(nullif(` + sessionMaxAge.Number() + `, 0) * interval '1 minute')` }

// Number returns SQL for the value of a setting, or its default. Read where it is used, a change counts at once and in
// every process.
func (n Name) Number() string {
	s, err := find(string(n))
	if err != nil {
		panic(err) // a name that no constant of this package has
	}
	return fmt.Sprintf(`coalesce((SELECT value::integer FROM setting WHERE name = '%s'), %d)`, s.name, s.value)
}

// Minutes returns SQL for the value of a setting as an interval.
func (n Name) Minutes() string { return `(` + n.Number() + ` * interval '1 minute')` }

// read returns the value of a setting; "" when it was never set.
func read(ctx context.Context, db *unit.DB, name Name) (value string, err error) {
	err = db.QueryRow(ctx, `SELECT value FROM setting WHERE name = $1`, string(name)).Scan(&value)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", nil
	}
	return value, err
}

// readAll returns the values of all settings that were set, and the number of the last change.
func readAll(ctx context.Context, db *unit.DB) (values map[Name]string, lastNotify int32, err error) {
	rows, err := db.Query(ctx, `
		SELECT coalesce(s.name, ''), coalesce(s.value, ''), (n.last_value & 2147483647)::integer
		FROM notify n LEFT JOIN setting s ON true`)
	if err != nil {
		return nil, 0, err
	}
	values = map[Name]string{}
	var name, value string
	_, err = pgx.ForEachRow(rows, []any{&name, &value, &lastNotify}, func() error {
		values[Name(name)] = value
		return nil
	})
	return values, lastNotify, err
}

// write stores the value of a setting.
func write(ctx context.Context, tx *unit.Tx, name Name, value string) error {
	_, err := tx.Exec(ctx, `
		INSERT INTO setting (name, value) VALUES ($1, $2)
		ON CONFLICT (name) DO UPDATE SET value = excluded.value`, string(name), value)
	return err
}
