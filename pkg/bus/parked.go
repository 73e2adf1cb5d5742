package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
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

const parkedColumns = `consumer, event_id::text, subject, key, type, data, occurred_at, error, parked_at`

func parked(row pgx.CollectableRow) (p Parked, err error) {
	e := &p.Event
	return p, row.Scan(&p.Consumer, &e.ID, &e.Subject, &e.Key, &e.Type, &e.Data, &e.Time, &p.Error, &p.At)
}

// ListParked returns the parked events, the oldest first.
func ListParked(ctx context.Context, db pg.DB, limit int) ([]Parked, error) {
	rows, err := db.Query(ctx, `SELECT `+parkedColumns+` FROM inbox_parked ORDER BY parked_at, event_id LIMIT $1`, limit)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, parked)
}

// Replay applies a parked event and removes it from the list. If handle refuses the event again, the event stays and Replay
// returns the fault. Later events of its key may have been applied already, as at every redelivery.
func Replay(ctx context.Context, pool *pgxpool.Pool, consumer, id string, handle Handle) error {
	var refused error
	err := pg.InTx(ctx, pool, func(tx pgx.Tx) error {
		refused = nil
		rows, err := tx.Query(ctx, `SELECT `+parkedColumns+` FROM inbox_parked WHERE consumer = $1 AND event_id = $2::text::uuid FOR UPDATE`, consumer, id)
		if err != nil {
			return err
		}
		p, err := pgx.CollectExactlyOneRow(rows, parked)
		if err != nil {
			return missing(err, consumer, id)
		}
		if refused = attempt(ctx, tx, p.Event, handle); refused != nil {
			_, err = tx.Exec(ctx, `UPDATE inbox_parked SET error = $3 WHERE consumer = $1 AND event_id = $2::text::uuid`, consumer, id, refused.Error())
			return err
		}
		_, err = tx.Exec(ctx, `DELETE FROM inbox_parked WHERE consumer = $1 AND event_id = $2::text::uuid`, consumer, id)
		return err
	})
	if err != nil || refused == nil {
		return err
	}
	if f, ok := fault.From(refused); ok {
		return f
	}
	return ErrRefused.Wrap(refused)
}

// attempt runs handle in a savepoint, so that the changes of a failed attempt are undone.
func attempt(ctx context.Context, tx pgx.Tx, e Event, handle Handle) (err error) {
	inner, err := tx.Begin(ctx)
	if err != nil {
		return err
	}
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
		if err != nil {
			err = errors.Join(err, inner.Rollback(context.WithoutCancel(ctx)))
		}
	}()
	if err := handle(ctx, inner, e); err != nil {
		return err
	}
	return inner.Commit(ctx)
}

// Drop deletes a parked event.
func Drop(ctx context.Context, db pg.DB, consumer, id string) error {
	tag, err := pg.Exec(ctx, db, `DELETE FROM inbox_parked WHERE consumer = $1 AND event_id = $2::text::uuid`, consumer, id)
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
