package bus

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go"
	"google.golang.org/grpc/codes"

	"slipway.dev/pkg/clamp"
	"slipway.dev/pkg/crash"
	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/lead"
	"slipway.dev/pkg/pg"
)

// Consumer names one reader of another service's events. Its Name never changes: its position and its inbox are kept under
// it, in the reader's own schema.
type Consumer struct {
	Name     string
	Service  string   // whose events
	Subjects []string // which of them; none is all
}

// Handle applies an event in tx. It must have no effect outside tx.
type Handle func(ctx context.Context, tx pgx.Tx, e Event) error

const (
	handleTries = 3  // as many failures park the event
	batchSize   = 64 // the most events in one transaction
	// inboxKept is longer than a stream and an outbox keep an event in sum: the outbox may send an event again at the end of its
	// time there, and the stream then keeps the event for its own time.
	inboxKept = 30 * 24 * time.Hour
	// unstored is how many messages of no interest a reader passes before it stores its position.
	unstored = 1024
	// leastPause and mostPause bound the time between two looks at a stream without news.
	leastPause, mostPause = 5 * time.Millisecond, 2 * time.Second
)

// Duty is the work of a consumer, for the leader of the schema that pool is on: it calls handle for every event, in order.
// The transaction that applies an event also stores its id, so that a second delivery does nothing, and the position in the
// stream, number and id of the event there, so that no event is skipped, even after a crash or a restore of the database from a
// backup. Where the stream holds another event at the position, the stream lost its end and was filled again: the consumer reads
// it from the first message, and the inbox knows the rest. An event that handle refuses permanently, or three times, is put into
// inbox_parked and logged. The consumer waits while NATS is unreachable, the stream is missing, the database is full or a row is
// locked.
func (b *Bus) Duty(c Consumer, handle Handle) lead.Duty {
	return lead.Duty{Name: "consume " + c.Name, Run: func(ctx context.Context, l *lead.Leader) error {
		r := reader{Bus: b, c: c, leader: l, handle: handle}
		return r.run(ctx)
	}}
}

// Consume runs Duty until ctx ends, for a schema with no other duties.
func (b *Bus) Consume(ctx context.Context, pool *pgxpool.Pool, c Consumer, handle Handle) error {
	return lead.Run(ctx, pool, b.log, b.Duty(c, handle))
}

var (
	pointTaking = crash.At("inbox.taking")
	pointTaken  = crash.At("inbox.taken")
)

// item is an event of this consumer.
type item struct {
	Event
	id     pgtype.UUID
	at     place
	failed bool // the last attempt, and by this one
}

// run reads events until an error.
func (r *reader) run(ctx context.Context) error {
	gaps, end := r.Gaps()
	defer end()
	news, unsubscribe, err := r.hear()
	if err != nil {
		return err
	}
	defer unsubscribe()
	if err := r.open(ctx); err != nil {
		return err
	}
	for pause := leastPause; ; {
		list, more, err := r.look(ctx)
		if err != nil {
			return errors.Join(err, context.Cause(ctx))
		}
		r.leader.Healthy()
		if err := r.advance(ctx, list); err != nil {
			return err
		}
		if err := r.prune(ctx); err != nil {
			return err
		}
		r.report()
		if more {
			pause = leastPause
			continue
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-gaps: // the stream may be another one
			pause = leastPause
		case <-news: // perhaps not in the stream yet
			pause = leastPause
		case <-time.After(pause):
			pause = longer(pause)
		}
	}
}

// longer returns the pause that follows one without news.
func longer(pause time.Duration) time.Duration { return min(2*pause, mostPause) }

// hear returns a channel that gets a value when an event was published, and a func that ends that. NATS hands the event to
// subscribers and to the stream at the same time, so that the stream may have the event later.
func (r *reader) hear() (<-chan struct{}, func(), error) {
	news, subjects := make(chan struct{}, 1), r.c.Subjects
	if len(subjects) == 0 {
		subjects = []string{r.c.Service + ".>"}
	}
	var subs []*nats.Subscription
	end := func() {
		for _, s := range subs {
			_ = s.Unsubscribe() // fails only on a connection that is closed
		}
	}
	for _, subject := range subjects {
		sub, err := r.nc.Subscribe(subject, func(*nats.Msg) {
			select {
			case news <- struct{}{}:
			default:
			}
		})
		if err != nil {
			end()
			return nil, nil, fmt.Errorf("subscribe %s: %w", r.c.Name, err)
		}
		subs = append(subs, sub)
	}
	return news, end, nil
}

// advance applies the events of a look, and stores the position when it moved far without any event for this consumer.
func (r *reader) advance(ctx context.Context, list []item) error {
	if len(list) > 0 {
		return r.take(ctx, list)
	}
	if r.at.seq < r.stored+unstored {
		return nil
	}
	return r.leader.InTx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		_, err := r.receive(ctx, tx, nil)
		return err
	})
}

// take applies events, all in one transaction or, if that fails, one after the other. It returns an error if the database or
// NATS failed.
func (r *reader) take(ctx context.Context, list []item) error {
	if len(list) > 1 && r.attempt(ctx, list) == nil {
		return nil
	}
	for n := range list {
		if err := r.takeOne(ctx, list[n:n+1]); err != nil {
			return err
		}
	}
	return nil
}

// takeOne applies one event, or parks it.
func (r *reader) takeOne(ctx context.Context, one []item) error {
	i, try := one[0], 1
	if i.failed {
		try++ // it was why the attempt with others failed
	}
	for ; ; try++ {
		err := r.attempt(ctx, one)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil || passing(err) || r.leader.Lost():
			return err // it is read again
		case hopeless(err) || try >= handleTries:
			r.log.Error("event parked", "consumer", r.c.Name, "event", i.ID, "subject", i.Subject, "err", err)
			return r.park(ctx, i, err)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(rand.N(50 * time.Millisecond << try)): // #nosec G404 -- no secret: it spreads out repeats
		}
	}
}

// attempt runs handle, in one transaction, for each event that is not in the inbox yet.
func (r *reader) attempt(ctx context.Context, list []item) (err error) {
	pointTaking.Hit()
	defer pointTaken.Hit()
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return r.leader.InTx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		isNew, err := r.receive(ctx, tx, list)
		if err != nil {
			return err
		}
		for n := range list {
			i := &list[n]
			if !isNew[i.id] {
				continue
			}
			delete(isNew, i.id) // delivered twice, it takes effect once
			i.failed = true
			if err := r.handle(ctx, tx, i.Event); err != nil {
				return err
			}
			i.failed = false
		}
		return nil
	})
}

// receive moves the position to the last event of list, or without any to where the reader is, and returns the ids of list that were not in the inbox before.
func (r *reader) receive(ctx context.Context, tx pgx.Tx, list []item) (isNew map[pgtype.UUID]bool, err error) {
	ids, to := make([]pgtype.UUID, len(list)), r.at
	for n, i := range list {
		ids[n], to = i.id, i.at
	}
	rows, err := tx.Query(ctx, `
		WITH position AS (
			INSERT INTO inbox_position (consumer, stream_created, seq, event_id) VALUES ($1, $3, $4, $5)
			ON CONFLICT (consumer) DO UPDATE
			SET stream_created = excluded.stream_created, seq = excluded.seq, event_id = excluded.event_id)
		INSERT INTO inbox (consumer, event_id) SELECT $1, unnest($2::uuid[])
		ON CONFLICT DO NOTHING RETURNING event_id`, r.c.Name, ids, r.created, clamp.Int64(to.seq), to.uuid())
	if err == nil {
		isNew = make(map[pgtype.UUID]bool, len(list))
		var id pgtype.UUID
		_, err = pgx.ForEachRow(rows, []any{&id}, func() error { isNew[id] = true; return nil })
	}
	if err != nil {
		return nil, fmt.Errorf("inbox: %w", err)
	}
	r.stored = to.seq
	return isNew, nil
}

func (r *reader) park(ctx context.Context, e item, cause error) error {
	return r.leader.InTx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		if _, err := r.receive(ctx, tx, []item{e}); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `
			INSERT INTO inbox_parked (consumer, event_id, subject, key, type, data, occurred_at, revision, error)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING`,
			r.c.Name, e.ID, e.Subject, e.Key, e.Type, e.Data, e.Time, e.Revision, text(cause.Error()))
		if err != nil {
			return fmt.Errorf("park: %w", err)
		}
		return nil
	})
}

func (r *reader) prune(ctx context.Context) error {
	if time.Since(r.pruned) < time.Hour {
		return nil
	}
	r.pruned = time.Now()
	return r.leader.InTx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `DELETE FROM inbox WHERE consumer = $1 AND seen_at < now() - $2::interval`,
			r.c.Name, inboxKept)
		return err
	})
}

// passing reports whether err says nothing of the event: the database is full or away, or a row is locked.
func passing(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || pg.Code(err) == pg.CodeLockTimeout ||
		errors.Is(err, fault.Unavailable) || errors.Is(err, pg.ErrUnknownCommit)
}

// hopeless reports whether err blames the event itself, so that a retry cannot help.
func hopeless(err error) bool {
	f, ok := fault.From(err)
	if !ok {
		return false
	}
	switch f.Code {
	case codes.InvalidArgument, codes.FailedPrecondition, codes.NotFound, codes.AlreadyExists, codes.OutOfRange,
		codes.PermissionDenied, codes.Unimplemented:
		return true
	}
	return false
}
