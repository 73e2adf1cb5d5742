package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"google.golang.org/grpc/codes"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/pg"
)

// Parked is an event that a consumer could not apply.
type Parked struct {
	Consumer string
	Event    Event
	Error    string
	At       time.Time
}

// ErrRefused is the error of a replay that failed with an internal error, which is shown in the list of parked events only.
var ErrRefused = fault.New(codes.FailedPrecondition, "EVENT_REFUSED", "the event was refused again; the list of parked events gives the reason")

const parkedColumns = `consumer, event_id::text, subject, key, type, data, occurred_at, revision, error, parked_at`

func parked(row pgx.CollectableRow) (p Parked, err error) {
	e := &p.Event
	return p, row.Scan(&p.Consumer, &e.ID, &e.Subject, &e.Key, &e.Type, &e.Data, &e.Time, &e.Revision, &p.Error, &p.At)
}

// ListParked returns the parked events, the oldest first.
func ListParked(ctx context.Context, db pg.DB, limit int) ([]Parked, error) {
	rows, err := db.Query(ctx, `SELECT `+parkedColumns+` FROM inbox_parked ORDER BY parked_at, event_id LIMIT $1`, limit)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, parked)
}

// Replay applies a parked event in tx and removes it from the list. Later events of its key may have been applied already, as at
// every redelivery: handle has to know of revisions where that matters. If handle refuses the event again, the error is of a type
// that Refused keeps; the transaction must then be rolled back.
func Replay(ctx context.Context, tx pgx.Tx, consumer, id string, handle Handle) error {
	rows, err := tx.Query(ctx, `SELECT `+parkedColumns+` FROM inbox_parked WHERE consumer = $1 AND event_id = $2::text::uuid FOR UPDATE`, consumer, id)
	if err != nil {
		return err
	}
	p, err := pgx.CollectExactlyOneRow(rows, parked)
	if err != nil {
		return missing(err, consumer, id)
	}
	if err := attempt(ctx, tx, p.Event, handle); err != nil {
		if err := pg.Unavailable(ctx, err); passing(err) {
			return err // not the event's fault
		}
		return refusedError{err}
	}
	_, err = tx.Exec(ctx, `DELETE FROM inbox_parked WHERE consumer = $1 AND event_id = $2::text::uuid`, consumer, id)
	return err
}

// refusedError says why a consumer refused a parked event again.
type refusedError struct{ error }

// Unwrap returns the error of the handler.
func (r refusedError) Unwrap() error { return r.error }

// Refused keeps why a replay was refused, where err is of that kind, for the list of parked events, and returns the fault for the
// caller. Any other err is returned as it is.
func Refused(ctx context.Context, db pg.DB, consumer, id string, err error) error {
	refused, ok := errors.AsType[refusedError](err)
	if !ok {
		return err
	}
	_, saveErr := pg.Exec(ctx, db, `
		UPDATE inbox_parked SET error = $3 WHERE consumer = $1 AND event_id = $2::text::uuid`, consumer, id, refused.Error())
	if saveErr != nil {
		return saveErr
	}
	if f, ok := fault.From(refused.error); ok {
		return f
	}
	return ErrRefused.Wrap(refused.error)
}

// attempt runs handle, whose panic is an error.
func attempt(ctx context.Context, tx pgx.Tx, e Event, handle Handle) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return handle(ctx, tx, e)
}

// Execer runs a statement in a transaction.
type Execer interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
}

// Drop deletes a parked event.
func Drop(ctx context.Context, tx Execer, consumer, id string) error {
	tag, err := tx.Exec(ctx, `DELETE FROM inbox_parked WHERE consumer = $1 AND event_id = $2::text::uuid`, consumer, id)
	if err == nil && tag.RowsAffected() == 0 {
		err = pgx.ErrNoRows
	}
	return missing(err, consumer, id)
}

func missing(err error, consumer, id string) error {
	if errors.Is(err, pgx.ErrNoRows) || pg.Code(err) == "22P02" { // not a UUID
		return fault.NotFound.With("no parked event %.40q of %.40q", id, consumer)
	}
	return err
}
