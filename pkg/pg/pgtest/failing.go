package pgtest

import (
	"context"
	"errors"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// errFailed is what a round trip fails with.
var errFailed = errors.New("a round trip failed")

// EachFails runs f in a transaction again and again, while its first, second, third … round trip fails: queries at once, then while
// their rows are read. It demands that f returns the error each time, and none once no round trip fails.
func EachFails(t testing.TB, pool *pgxpool.Pool, what string, f func(context.Context, pgx.Tx) error) {
	t.Helper()
	for _, late := range []bool{false, true} {
		for n := 1; oneFails(t, pool, what, failingTx{left: n, late: late}, f); n++ {
		}
	}
}

// oneFails runs f with a transaction in which one round trip fails. It reports whether f came to that one.
func oneFails(t testing.TB, pool *pgxpool.Pool, what string, tx failingTx, f func(context.Context, pgx.Tx) error) bool {
	t.Helper()
	plain, err := pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	n := tx.left
	tx.Tx = plain
	err = f(t.Context(), &tx)
	if rollbackErr := plain.Rollback(t.Context()); rollbackErr != nil {
		t.Fatal(rollbackErr)
	}
	switch came := tx.left <= 0; {
	case !came && err != nil:
		t.Fatalf("%s: %v", what, err)
	case !came && n == 1:
		t.Fatalf("%s makes no round trip", what)
	case came && !errors.Is(err, errFailed):
		t.Errorf("%s: round trip %d fails, and the error is %v", what, n, err)
	default:
		return came
	}
	return true
}

// failingTx is a transaction of which one round trip fails.
type failingTx struct {
	pgx.Tx
	left int  // round trips until then, with that one
	late bool // rows fail while they are read
}

func (f *failingTx) fails() bool {
	f.left--
	return f.left == 0
}

// Exec runs a statement.
func (f *failingTx) Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error) {
	if f.fails() {
		return pgconn.CommandTag{}, errFailed
	}
	return f.Tx.Exec(ctx, sql, args...)
}

// Query reads rows.
func (f *failingTx) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	if f.fails() {
		if f.late {
			return failedRows{}, nil
		}
		return nil, errFailed
	}
	return f.Tx.Query(ctx, sql, args...)
}

// QueryRow reads one row.
func (f *failingTx) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	if f.fails() {
		return failed{}
	}
	return f.Tx.QueryRow(ctx, sql, args...)
}

// SendBatch sends several statements.
func (f *failingTx) SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults {
	if f.fails() {
		return failedBatch{}
	}
	return f.Tx.SendBatch(ctx, b)
}

// failedRows are rows that could not be read.
type failedRows struct{ pgx.Rows }

// Next returns false: there is no row.
func (failedRows) Next() bool { return false }

// Err returns the failure.
func (failedRows) Err() error { return errFailed }

// Close does nothing.
func (failedRows) Close() {}

// failed is a row that could not be read.
type failed struct{}

// Scan returns the failure.
func (failed) Scan(...any) error { return errFailed }

// failedBatch is the result of statements that could not be sent.
type failedBatch struct{ pgx.BatchResults }

// Exec returns the failure.
func (failedBatch) Exec() (pgconn.CommandTag, error) { return pgconn.CommandTag{}, errFailed }

// Query returns the failure.
func (failedBatch) Query() (pgx.Rows, error) { return nil, errFailed }

// QueryRow returns a row with the failure.
func (failedBatch) QueryRow() pgx.Row { return failed{} }

// Close returns the failure.
func (failedBatch) Close() error { return errFailed }
