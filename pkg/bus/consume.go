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
	"github.com/nats-io/nats.go/jetstream"
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
	handleTries = 3                   // as many failures park the event
	batchSize   = 64                  // the most events in one transaction
	inboxKept   = 30 * 24 * time.Hour // longer than a stream and an outbox keep an event in sum
)

// Duty is the work of a consumer, for the leader of the schema that pool is on: it calls handle for every event, in order.
// The transaction that applies an event also stores its id, so that a second delivery does nothing, and the position in the
// stream, so that no event is skipped, even after a crash or a restore of the database from a backup. An event that handle
// refuses permanently, or three times, is put into inbox_parked and logged. The consumer waits while NATS is unreachable or a
// row is locked; it makes a stream that is missing in NATS.
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

// reader reads the events of one consumer, in the process that leads.
type reader struct {
	*Bus
	c       Consumer
	leader  *lead.Leader
	handle  Handle
	created time.Time // of the stream: positions in another one mean nothing
	next    uint64    // number of the next message of this subscription
	pruned  time.Time
}

var (
	errGap  = errors.New("connected anew")
	errMiss = errors.New("a message was missed")
)

// run reads events until an error.
func (r *reader) run(ctx context.Context) error {
	gaps, end := r.Gaps()
	defer end()
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	msgs, err := r.open(ctx)
	if err != nil {
		return err
	}
	defer msgs.Stop()
	go func() {
		select {
		case <-gaps: // the subscription, even the stream, may be gone: begin again
			stop(errGap)
		case <-ctx.Done():
		}
	}()
	ready := pump(ctx, msgs)
	for {
		list, err := r.gather(ctx, ready)
		if err != nil {
			return errors.Join(err, context.Cause(ctx))
		}
		r.leader.Healthy()
		if err := r.take(ctx, list); err != nil {
			return err
		}
		if err := r.prune(ctx); err != nil {
			return err
		}
	}
}

// delivery is a message, or the error that ended the delivery.
type delivery struct {
	msg jetstream.Msg
	err error
}

// pump sends the messages of a subscription to a channel until an error or the end of ctx.
func pump(ctx context.Context, msgs jetstream.MessagesContext) <-chan delivery {
	ready := make(chan delivery, batchSize)
	go func() {
		for {
			m, err := msgs.Next(jetstream.NextContext(ctx))
			select {
			case ready <- delivery{m, err}:
			case <-ctx.Done():
				return
			}
			if err != nil {
				return
			}
		}
	}()
	return ready
}

// item is an event with its place in the stream.
type item struct {
	Event
	id     pgtype.UUID
	seq    uint64
	failed bool // the last attempt, and by this one
}

// gather waits for an event and returns it with those that have arrived already, at most batch events in all.
func (r *reader) gather(ctx context.Context, ready <-chan delivery) (list []item, err error) {
	for len(list) < batchSize {
		var d delivery
		if len(list) == 0 {
			select {
			case d = <-ready:
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		} else {
			select {
			case d = <-ready:
			default:
				return list, nil
			}
		}
		if d.err != nil {
			return nil, d.err // what was gathered is delivered again
		}
		i, ok, err := r.item(d.msg)
		if err != nil {
			return nil, err
		}
		if ok {
			list = append(list, i)
		}
	}
	return list, nil
}

// item decodes a message. ok is false for foreign messages and duplicates.
func (r *reader) item(m jetstream.Msg) (i item, ok bool, err error) {
	meta, err := m.Metadata()
	if err != nil {
		return i, false, err
	}
	switch {
	case meta.Sequence.Consumer < r.next:
		return i, false, nil // it came twice on the way to us
	case meta.Sequence.Consumer > r.next:
		return i, false, errMiss // a gap in the numbers: without acknowledgements it is the only sign of a lost message
	}
	r.next++
	i = item{Event: event(m.Subject(), m.Headers(), m.Data()), seq: meta.Sequence.Stream}
	if len(i.ID) != 36 || i.id.Scan(i.ID) != nil {
		r.log.Error("message without an event id dropped", "consumer", r.c.Name, "subject", i.Subject)
		return i, false, nil
	}
	return i, true, nil
}

// open subscribes from the position stored in the database. NATS keeps no position that could disagree with the database.
func (r *reader) open(ctx context.Context) (jetstream.MessagesContext, error) {
	stream, err := r.stream(ctx, r.c.Service)
	if err != nil {
		return nil, err
	}
	info := stream.CachedInfo()
	r.created, r.next = info.Created.Truncate(time.Microsecond), 1
	var last int64
	err = r.leader.Do(ctx, func(ctx context.Context, conn *pgxpool.Conn) error {
		return conn.QueryRow(ctx, `SELECT seq FROM inbox_position WHERE consumer = $1 AND stream_created = $2`,
			r.c.Name, r.created).Scan(&last)
	})
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return nil, fmt.Errorf("read position: %w", err)
	}
	next := uint64(max(last, 0)) + 1 // #nosec G115 -- not below zero
	if next > info.State.LastSeq+1 {
		next = 1 // the stream lost its end: read what came instead, the inbox knows the rest
	}
	short, stop := context.WithTimeout(ctx, 5*time.Second)
	defer stop()
	cons, err := r.js.CreateConsumer(short, r.c.Service, jetstream.ConsumerConfig{
		FilterSubjects:    r.c.Subjects,
		DeliverPolicy:     jetstream.DeliverByStartSequencePolicy,
		OptStartSeq:       next,
		AckPolicy:         jetstream.AckNonePolicy,
		MemoryStorage:     true,
		InactiveThreshold: time.Minute,
	})
	if err != nil {
		return nil, fmt.Errorf("subscribe %s: %w", r.c.Name, err)
	}
	return cons.Messages(jetstream.PullMaxMessages(64), jetstream.PullExpiry(10*time.Second),
		jetstream.PullHeartbeat(2*time.Second), jetstream.WithMessagesErrOnMissingHeartbeat(true))
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
		case ctx.Err() != nil || errors.Is(err, context.DeadlineExceeded) || pg.Code(err) == pg.CodeLockTimeout || r.leader.Lost():
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

// receive moves the position behind list and returns the ids that were not in the inbox before.
func (r *reader) receive(ctx context.Context, tx pgx.Tx, list []item) (isNew map[pgtype.UUID]bool, err error) {
	ids := make([]pgtype.UUID, len(list))
	for n, i := range list {
		ids[n] = i.id
	}
	rows, err := tx.Query(ctx, `
		WITH position AS (
			INSERT INTO inbox_position (consumer, stream_created, seq) VALUES ($1, $3, $4)
			ON CONFLICT (consumer) DO UPDATE SET stream_created = excluded.stream_created, seq = excluded.seq)
		INSERT INTO inbox (consumer, event_id) SELECT $1, unnest($2::uuid[])
		ON CONFLICT DO NOTHING RETURNING event_id`, r.c.Name, ids, r.created, clamp.Int64(list[len(list)-1].seq))
	if err == nil {
		isNew = make(map[pgtype.UUID]bool, len(list))
		var id pgtype.UUID
		_, err = pgx.ForEachRow(rows, []any{&id}, func() error { isNew[id] = true; return nil })
	}
	if err != nil {
		return nil, fmt.Errorf("inbox: %w", err)
	}
	return isNew, nil
}

func (r *reader) park(ctx context.Context, e item, cause error) error {
	return r.leader.InTx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		if _, err := r.receive(ctx, tx, []item{e}); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `
			INSERT INTO inbox_parked (consumer, event_id, subject, key, type, data, occurred_at, error)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING`,
			r.c.Name, e.ID, e.Subject, e.Key, e.Type, e.Data, e.Time, cause.Error())
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
	return r.leader.Do(ctx, func(ctx context.Context, conn *pgxpool.Conn) error {
		_, err := conn.Exec(ctx, `DELETE FROM inbox WHERE consumer = $1 AND seen_at < now() - $2::interval`,
			r.c.Name, inboxKept)
		return err
	})
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
