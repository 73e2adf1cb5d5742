// Package seed fills a fresh installation with an estate of any size, for benches and tests of lists. The estate
// exists only in the database: no node answers, no machine runs.
package seed

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// ErrNotFresh is the error of a database that is in use already.
var ErrNotFresh = errors.New("seed: the database holds more than the first start made; an estate is for a fresh one alone")

// fresh is true if the database holds only the rows of a first start.
const fresh = `SELECT NOT EXISTS (SELECT FROM vm.host) AND NOT EXISTS (SELECT FROM vm.job)
	AND (SELECT count(*) <= 1 FROM auth.user_account) AND (SELECT count(*) <= 1 FROM vm.cluster) AND (SELECT count(*) <= 1 FROM vm.node)
	AND NOT EXISTS (SELECT FROM ip.address WHERE owner IS NOT NULL) AND (SELECT count(*) <= 1 FROM ip.network)`

// Size is that of an estate.
type Size struct {
	Hosts int
	Nodes int // 0: in proportion
	Own   int // hosts of the first account, before those that have their owners by chance
}

// Fill makes so many hosts, and clusters, nodes, accounts, disks, addresses and tasks in proportion. The stack must have
// been started once on the database; it may be running. Fill reports its progress to say.
func Fill(ctx context.Context, url string, hosts int, say func(string)) error {
	return FillSize(ctx, url, Size{Hosts: hosts}, say)
}

// FillSize is Fill for an estate of this size.
func FillSize(ctx context.Context, url string, size Size, say func(string)) error {
	db, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer db.Close(context.WithoutCancel(ctx))
	var ok bool
	if err := db.QueryRow(ctx, fresh).Scan(&ok); err != nil {
		return fmt.Errorf("seed: is this the database of a stack that was started? %w", err)
	}
	if !ok {
		return ErrNotFresh
	}
	e, err := newEstate(ctx, db, size)
	if err != nil {
		return err
	}
	for _, t := range e.tables() {
		start := time.Now()
		if err := e.copy(ctx, db, t); err != nil {
			return fmt.Errorf("seed %s: %w", t.name, err)
		}
		say(fmt.Sprintf("%s: %d rows in %s", t.name, t.rows, time.Since(start).Round(time.Millisecond)))
	}
	return e.finish(ctx, db)
}

// batch is the number of rows that one COPY writes.
const batch = 50_000

// copy writes the rows of a table, from number 1.
func (e *estate) copy(ctx context.Context, db *pgx.Conn, t table) error {
	// Triggers use names without schema, as the services do.
	if _, err := db.Exec(ctx, `SELECT set_config('search_path', $1, false)`, t.schema); err != nil {
		return err
	}
	for from := 1; from <= t.rows; from += batch {
		next, last := from, min(from+batch-1, t.rows)
		_, err := db.CopyFrom(ctx, pgx.Identifier{t.schema, t.name}, t.columns, pgx.CopyFromFunc(func() ([]any, error) {
			if next > last {
				return nil, nil
			}
			next++
			return t.row(next - 1), nil
		}))
		if err != nil {
			return err
		}
	}
	return nil
}

// finish moves the sequences past the new rows and has PostgreSQL analyze the tables.
func (e *estate) finish(ctx context.Context, db *pgx.Conn) error {
	for _, t := range e.tables() {
		if t.columns[0] != "id" {
			continue
		}
		sql := fmt.Sprintf(`SELECT setval(pg_get_serial_sequence('%[1]s.%[2]s', 'id'), (SELECT max(id) FROM %[1]s.%[2]s))`, t.schema, t.name)
		if t.schema == "vm" && t.name == "account" {
			continue // its ids are auth's
		}
		if _, err := db.Exec(ctx, sql); err != nil {
			return err
		}
	}
	_, err := db.Exec(ctx, `VACUUM (ANALYZE)`)
	return err
}
