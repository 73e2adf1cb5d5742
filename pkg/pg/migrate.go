package pg

import (
	"context"
	"database/sql"
	"fmt"
	"io/fs"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
)

// Line is one line of forward-only goose SQL migrations. Its files (0001_name.sql) are in the root of FS or in its folder
// "migrations"; its version table is migration_<Name> in the schema of the pool. A schema may have several lines.
type Line struct {
	Name string
	FS   fs.FS
}

// Migrate brings every line up to date, in the order given. Processes that migrate at the same time wait for each other.
func Migrate(ctx context.Context, pool *pgxpool.Pool, lines ...Line) error {
	db := stdlib.OpenDBFromPool(pool)
	defer db.Close()
	for _, l := range lines {
		if err := l.up(ctx, db); err != nil {
			return fmt.Errorf("migrate %s: %w", l.Name, err)
		}
	}
	return nil
}

func (l Line) up(ctx context.Context, db *sql.DB) error {
	files := l.FS
	if st, err := fs.Stat(files, "migrations"); err == nil && st.IsDir() {
		if files, err = fs.Sub(files, "migrations"); err != nil {
			return err
		}
	}
	p, err := goose.NewProvider(goose.DialectPostgres, db, files,
		goose.WithTableName("migration_"+l.Name),
		goose.WithSessionLocker(locker{}),
		goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return err
	}
	_, err = p.Up(ctx)
	return err
}

// locker is goose's session lock, but per schema and with shorter pauses than a second between two attempts. It polls instead of
// waiting inside PostgreSQL, because a waiter holds a snapshot for which CREATE INDEX CONCURRENTLY would wait in turn.
type locker struct{}

const migrateLock = `hashtextextended('migrate ' || current_schema(), 0)`

func (locker) SessionLock(ctx context.Context, c *sql.Conn) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		var ok bool
		if err := c.QueryRowContext(ctx, `SELECT pg_try_advisory_lock(`+migrateLock+`)`).Scan(&ok); err != nil || ok {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for another migration: %w", ctx.Err())
		case <-tick.C:
		}
	}
}

func (locker) SessionUnlock(ctx context.Context, c *sql.Conn) error {
	_, err := c.ExecContext(ctx, `SELECT pg_advisory_unlock(`+migrateLock+`)`)
	return err
}
