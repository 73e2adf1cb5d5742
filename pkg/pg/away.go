package pg

import (
	"context"
	"errors"
	"net"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"slipway.dev/pkg/fault"
)

// Unavailable returns fault.Unavailable with err as its cause when err says that nothing was done because the database could
// not be had, was full or went away. It returns any other err as it is: a fault, the end of ctx, a mistake in a statement.
// What broke while an answer was awaited counts as not done, which is right for reads and inside a transaction that was not
// committed; Exec is for the other statements.
func Unavailable(ctx context.Context, err error) error {
	if err == nil || ctx.Err() != nil {
		return err
	}
	if _, isFault := fault.From(err); isFault || !refused(err) && !broke(err) {
		return err
	}
	return fault.Unavailable.Wrap(err)
}

// Exec runs a statement that writes outside of a transaction. When the connection broke after the statement was sent, the
// statement may have taken effect, and the error is ErrUnknownCommit.
func Exec(ctx context.Context, db DB, sql string, args ...any) (pgconn.CommandTag, error) {
	tag, err := db.Exec(ctx, sql, args...)
	if err != nil && broke(err) && !refused(err) {
		return tag, ErrUnknownCommit.Wrap(err)
	}
	return tag, Unavailable(ctx, err)
}

// refused reports whether the statement of err had no effect for sure, for a reason that passes: there was no connection for
// it, or the server answered that it could not carry the statement out.
func refused(err error) bool {
	if _, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		return true
	}
	e, answered := errors.AsType[*pgconn.PgError](err)
	if !answered {
		l, _ := errors.AsType[lostError](err)
		return l.unsent
	}
	return e.SeverityUnlocalized == "ERROR" && passes(e.Code)
}

// passes reports whether a statement that was refused with this SQLSTATE may succeed later, or on another server.
func passes(code string) bool {
	switch {
	case strings.HasPrefix(code, classConnection), strings.HasPrefix(code, classResources):
		return true
	}
	switch code {
	case codeReadOnly, codeAdminShutdown, codeCrashShutdown, codeCannotConnect:
		return true
	}
	return false
}

// broke reports whether the connection ended while the statement of err was under way. pgx answers "conn closed", which it
// calls safe to retry, also after it has sent the statement.
func broke(err error) bool {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return e.SeverityUnlocalized == "FATAL" || e.SeverityUnlocalized == "PANIC"
	}
	_, lost := errors.AsType[lostError](err)
	return lost || pgconn.Timeout(err) || errors.Is(err, pgconn.ErrConnClosed)
}

// lostError is an error of a connection to PostgreSQL, as against those of other connections.
type lostError struct {
	error
	unsent bool // the server got nothing of what was to be written
}

// Unwrap returns what the network said.
func (e lostError) Unwrap() error { return e.error }

// wire is a connection to PostgreSQL that marks its errors.
type wire struct {
	net.Conn
	guard *Guard
}

// mark is for pgconn.Config.AfterNetConnect.
func (g *Guard) mark(_ context.Context, _ *pgconn.Config, c net.Conn) (net.Conn, error) {
	return &wire{c, g}, nil
}

// Close implements net.Conn.
func (w *wire) Close() error {
	w.guard.forget(w)
	return w.Conn.Close()
}

// Read implements net.Conn.
func (w *wire) Read(b []byte) (int, error) {
	n, err := w.Conn.Read(b)
	return n, lost(err, false)
}

// Write implements net.Conn.
func (w *wire) Write(b []byte) (int, error) {
	n, err := w.Conn.Write(b)
	return n, lost(err, n == 0)
}

func lost(err error, unsent bool) error {
	if err == nil {
		return nil
	}
	return lostError{err, unsent}
}
