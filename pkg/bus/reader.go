package bus

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go/jetstream"

	"slipway.dev/pkg/lead"
)

// reader reads the events of one consumer, in the process that leads. It asks for messages by their numbers, so that NATS keeps
// no position that could disagree with the database, and no message can be missed on the way unnoticed.
type reader struct {
	*Bus
	c       Consumer
	leader  *lead.Leader
	handle  Handle
	created time.Time // of the stream: positions in another one mean nothing
	at      place     // of the last message that was looked at
	stored  uint64    // the number in the database

	pruned, reported time.Time
}

// place is a message of a stream: its number, and what distinguishes the message from any other with that number.
type place struct {
	seq  uint64
	mark string // the id of the event; "" when it is not known
}

// uuid returns the id of the event for the database, which has none for a message that is no event.
func (p place) uuid() (id pgtype.UUID) {
	if id.Scan(p.mark) != nil {
		return pgtype.UUID{}
	}
	return id
}

// markOf returns the id of the event in a message, or when the message came if it is no event.
func markOf(m *jetstream.RawStreamMsg) string {
	if id := eventID(m.Header); id != "" {
		return id
	}
	return m.Time.UTC().Format(time.RFC3339Nano)
}

// open reads the position from the database.
func (r *reader) open(ctx context.Context) error {
	var seq int64
	err := r.leader.Do(ctx, func(ctx context.Context, conn *pgxpool.Conn) error {
		return conn.QueryRow(ctx, `SELECT stream_created, seq, coalesce(event_id::text, '') FROM inbox_position WHERE consumer = $1`,
			r.c.Name).Scan(&r.created, &seq, &r.at.mark)
	})
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return fmt.Errorf("read position: %w", err)
	}
	r.at.seq = uint64(max(seq, 0)) // #nosec G115 -- not below zero
	r.stored = r.at.seq
	return nil
}

// restart reads the stream from its first message: it is not the one that the position is in, or no longer.
func (r *reader) restart(created time.Time, why string) {
	if r.at.seq > 0 {
		r.log.Warn("the stream is read from its first message", "consumer", r.c.Name, "reason", why, "position", r.at.seq)
	}
	r.created, r.at, r.stored = created, place{}, 0
}

// look returns events after the position, in order, and moves the position behind them. more says that another look at once may
// find further ones.
func (r *reader) look(ctx context.Context) (list []item, more bool, err error) {
	ask, stop := context.WithTimeout(ctx, askTime)
	defer stop()
	js, err := r.of(r.c.Service)
	if err != nil {
		return nil, false, err
	}
	stream, err := repeat(ask, r.patience, func(ctx context.Context) (jetstream.Stream, error) { return js.Stream(ctx, r.c.Service) })
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, false, nil // its owner makes it
	}
	if err != nil {
		return nil, false, fmt.Errorf("look at stream %s: %w", r.c.Service, err)
	}
	info := stream.CachedInfo()
	first, last := info.State.FirstSeq, info.State.LastSeq
	switch created := info.Created.Truncate(time.Microsecond); {
	case !created.Equal(r.created):
		r.restart(created, "it was made anew")
	case r.at.seq > last:
		r.restart(created, "it lost its end")
	case r.at.seq >= first && r.at.mark != "":
		same, err := r.same(ask, stream)
		if err != nil {
			return nil, false, err
		}
		if !same {
			r.restart(created, "it holds another event at the position")
			return nil, true, nil
		}
	}
	return r.fetch(ask, stream, max(r.at.seq+1, first), last)
}

// same reports whether the message at the position is the one that was there.
func (r *reader) same(ctx context.Context, s jetstream.Stream) (bool, error) {
	m, err := r.message(ctx, s, r.at.seq)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("stream %s at %d: %w", r.c.Service, r.at.seq, err)
	}
	return markOf(m) == r.at.mark, nil
}

// fetch reads the messages from one number on. An answer that was lost ends the batch before it.
func (r *reader) fetch(ctx context.Context, s jetstream.Stream, from, last uint64) (list []item, more bool, err error) {
	if from > last {
		return nil, false, nil
	}
	to := min(last, from+batchSize-1)
	msgs, err := r.messages(ctx, s, from, to)
	if len(msgs) == 0 && err == nil {
		// All of them are gone, the last of the stream perhaps as well.
		m, err := r.message(ctx, s, from, jetstream.WithGetMsgSubject(">"))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return nil, false, nil
		}
		if err != nil {
			return nil, false, fmt.Errorf("stream %s after %d: %w", r.c.Service, from, err)
		}
		msgs = append(msgs, m)
	}
	if len(msgs) == 0 {
		return nil, false, fmt.Errorf("stream %s at %d: %w", r.c.Service, from, err)
	}
	for _, m := range msgs {
		r.at = place{m.Sequence, markOf(m)}
		if i, ok := r.item(m); ok {
			list = append(list, i)
		}
	}
	return list, r.at.seq < last, nil
}

// messages returns those with the numbers from one to another, in order and without those that are gone. After an error it
// returns the messages before that.
func (b *Bus) messages(ctx context.Context, s jetstream.Stream, from, to uint64) ([]*jetstream.RawStreamMsg, error) {
	msgs, errs := b.get(ctx, s, from, to)
	// A stream that came back older while it was asked may have been filled again since: then a message that was not there is
	// there now, if a later one was.
	for n, later := len(msgs)-1, false; n >= 0; n-- {
		if later && errors.Is(errs[n], jetstream.ErrMsgNotFound) {
			if _, err := b.message(ctx, s, from+uint64(n)); !errors.Is(err, jetstream.ErrMsgNotFound) { // #nosec G115 -- below batchSize
				errs[n] = errChanged
			}
		}
		later = later || errs[n] == nil
	}
	list := msgs[:0]
	for n, err := range errs {
		switch {
		case err == nil:
			list = append(list, msgs[n])
		case !errors.Is(err, jetstream.ErrMsgNotFound):
			return list, err
		}
	}
	return list, nil
}

var errChanged = errors.New("the stream changes")

// get asks for all messages from one number to another at once.
func (b *Bus) get(ctx context.Context, s jetstream.Stream, from, to uint64) ([]*jetstream.RawStreamMsg, []error) {
	msgs, errs := make([]*jetstream.RawStreamMsg, to-from+1), make([]error, to-from+1)
	var all sync.WaitGroup
	for n := range msgs {
		all.Go(func() { msgs[n], errs[n] = b.message(ctx, s, from+uint64(n)) }) // #nosec G115 -- below batchSize
	}
	all.Wait()
	return msgs, errs
}

// message returns the message with a number, or with options the first one from there on.
func (b *Bus) message(ctx context.Context, s jetstream.Stream, seq uint64, opts ...jetstream.GetMsgOpt) (*jetstream.RawStreamMsg, error) {
	return repeat(ctx, b.patience, func(ctx context.Context) (*jetstream.RawStreamMsg, error) { return s.GetMsg(ctx, seq, opts...) })
}

// repeat asks again while no answer comes, because question or answer may be lost, until ctx ends. It waits for the first answer
// for wait, and for each further one twice as long.
func repeat[T any](ctx context.Context, wait time.Duration, ask func(context.Context) (T, error)) (T, error) {
	for ; ; wait *= 2 {
		short, stop := context.WithTimeout(ctx, wait)
		answer, err := ask(short)
		late := short.Err() != nil && ctx.Err() == nil
		stop()
		if err == nil || !late {
			return answer, err
		}
	}
}

// item returns the event in a message. ok is false if the event is not for this consumer.
func (r *reader) item(m *jetstream.RawStreamMsg) (i item, ok bool) {
	if !matches(r.c.Subjects, m.Subject) {
		return i, false
	}
	i = item{Event: event(m.Subject, m.Header, m.Data), at: r.at}
	if len(i.ID) != 36 || i.id.Scan(i.ID) != nil {
		r.log.Error("message without an event id dropped", "consumer", r.c.Name, "subject", i.Subject)
		return i, false
	}
	return i, true
}
