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

	"slipway.dev/pkg/crash"
	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/pg"
)

// Consumer names one reader of another service's events. Its Name is for ever: its position and its inbox are kept under
// it, in the reader's own schema.
type Consumer struct {
	Name     string
	Service  string   // whose events
	Subjects []string // which of them; none is all
}

// Handle makes the effect of an event in tx. It touches nothing but tx.
type Handle func(ctx context.Context, tx pgx.Tx, e Event) error

const (
	handleTries = 3                   // as many failures park the event
	inboxKept   = 30 * 24 * time.Hour // longer than a stream and an outbox keep an event together
)

// Consume calls handle for every event, in order, until ctx ends. The event is remembered in the transaction of its
// effect, so a second delivery does nothing; so is the position in the stream, so nothing is passed over, not even after
// a crash or when the database was restored from a backup. Of several processes with the same consumer and schema one works and the
// others wait. An event that handle refuses for good, or three times, is put into inbox_parked and logged.
// While NATS, the stream or PostgreSQL is away Consume waits; what is missing in NATS it makes anew.
func (b *Bus) Consume(ctx context.Context, pool *pgxpool.Pool, c Consumer, handle Handle) error {
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		err := pg.Lead(ctx, pool, "consume "+c.Name, func(ctx context.Context, conn *pgxpool.Conn) error {
			r := reader{Bus: b, c: c, conn: conn, handle: handle, healthy: func() { wait = 100 * time.Millisecond }}
			return r.run(ctx)
		})
		if ctx.Err() != nil {
			return nil
		}
		b.log.Warn("consumer waits", "consumer", c.Name, "err", err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait/2 + rand.N(wait)/2):
		}
	}
}

var (
	pointTaking = crash.At("inbox.taking")
	pointTaken  = crash.At("inbox.taken")
)

// reader is a Consume that leads.
type reader struct {
	*Bus
	c       Consumer
	conn    *pgxpool.Conn
	handle  Handle
	healthy func()    // something was read: the next trouble is a new one
	created time.Time // of the stream: positions in another one mean nothing
	next    uint64    // number of the next message of this subscription
	pruned  time.Time
}

var (
	errGap  = errors.New("connected anew")
	errMiss = errors.New("a message was missed")
)

// run reads until there is trouble.
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
	for {
		m, err := msgs.Next(jetstream.NextContext(ctx))
		if err != nil {
			return errors.Join(err, context.Cause(ctx))
		}
		r.healthy()
		if err := r.take(ctx, m); err != nil {
			return err
		}
		if err := r.prune(ctx); err != nil {
			return err
		}
	}
}

// open subscribes from the position that the database knows. NATS keeps no state for us that could disagree with it.
func (r *reader) open(ctx context.Context) (jetstream.MessagesContext, error) {
	stream, err := r.stream(ctx, r.c.Service)
	if err != nil {
		return nil, err
	}
	info := stream.CachedInfo()
	r.created, r.next = info.Created.Truncate(time.Microsecond), 1
	var last int64
	err = r.conn.QueryRow(ctx, `SELECT seq FROM inbox_position WHERE consumer = $1 AND stream_created = $2`,
		r.c.Name, r.created).Scan(&last)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return nil, fmt.Errorf("read position: %w", err)
	}
	if uint64(last) > info.State.LastSeq {
		last = 0 // the stream lost its end: read what came instead, the inbox knows the rest
	}
	short, stop := context.WithTimeout(ctx, 5*time.Second)
	defer stop()
	cons, err := r.js.CreateConsumer(short, r.c.Service, jetstream.ConsumerConfig{
		FilterSubjects:    r.c.Subjects,
		DeliverPolicy:     jetstream.DeliverByStartSequencePolicy,
		OptStartSeq:       uint64(last) + 1,
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

// take makes the effect of one message, or parks it. An error means that the database or NATS is in trouble.
func (r *reader) take(ctx context.Context, m jetstream.Msg) error {
	meta, err := m.Metadata()
	if err != nil {
		return err
	}
	if meta.Sequence.Consumer != r.next {
		return errMiss // it got lost on the way to us; without acknowledgements only its number tells
	}
	r.next++
	e := event(m.Subject(), m.Headers(), m.Data())
	if !isUUID(e.ID) {
		r.log.Error("message without an event id dropped", "consumer", r.c.Name, "subject", e.Subject)
		return nil
	}
	for try := 1; ; try++ {
		pointTaking.Hit()
		err := r.apply(ctx, e, meta.Sequence.Stream)
		pointTaken.Hit()
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil || r.conn.Conn().IsClosed():
			return err // it is read again
		case hopeless(err) || try >= handleTries:
			r.log.Error("event parked", "consumer", r.c.Name, "event", e.ID, "subject", e.Subject, "err", err)
			return r.park(ctx, e, meta.Sequence.Stream, err)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(rand.N(50 * time.Millisecond << try)):
		}
	}
}

// apply runs handle unless the inbox has the event already.
func (r *reader) apply(ctx context.Context, e Event, seq uint64) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return pg.InTxOn(ctx, r.conn, func(tx pgx.Tx) error {
		isNew, err := r.receive(ctx, tx, e, seq)
		if err != nil || !isNew {
			return err
		}
		return r.handle(ctx, tx, e)
	})
}

// receive moves the position and reports whether the event is seen for the first time.
func (r *reader) receive(ctx context.Context, tx pgx.Tx, e Event, seq uint64) (bool, error) {
	tag, err := tx.Exec(ctx, `
		WITH position AS (
			INSERT INTO inbox_position (consumer, stream_created, seq) VALUES ($1, $3, $4)
			ON CONFLICT (consumer) DO UPDATE SET stream_created = excluded.stream_created, seq = excluded.seq)
		INSERT INTO inbox (consumer, event_id) VALUES ($1, $2)
		ON CONFLICT DO NOTHING`, r.c.Name, e.ID, r.created, int64(seq))
	if err != nil {
		return false, fmt.Errorf("inbox: %w", err)
	}
	return tag.RowsAffected() > 0, nil
}

func (r *reader) park(ctx context.Context, e Event, seq uint64, cause error) error {
	return pg.InTxOn(ctx, r.conn, func(tx pgx.Tx) error {
		if _, err := r.receive(ctx, tx, e, seq); err != nil {
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
	_, err := r.conn.Exec(ctx, `DELETE FROM inbox WHERE consumer = $1 AND seen_at < now() - $2::interval`,
		r.c.Name, inboxKept)
	return err
}

func isUUID(s string) bool {
	var id pgtype.UUID
	return len(s) == 36 && id.Scan(s) == nil
}

// hopeless reports whether the event itself is wrong, so that no retry will help.
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
