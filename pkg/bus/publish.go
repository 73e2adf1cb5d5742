package bus

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Publish sends events in order and waits until JetStream has them on disk. It returns how many of them, from the first, are
// on disk. The others may have arrived or not; the caller must publish them again.
func (b *Bus) Publish(ctx context.Context, events ...Event) (int, error) {
	for _, e := range events {
		if err := b.EnsureStream(ctx, streamOf(e)); err != nil {
			return 0, err
		}
	}
	seqs, err := b.publish(ctx, events)
	return len(seqs), err
}

// Append is Publish for events of one stream whose last message has the number last. JetStream refuses the events if the stream
// ends elsewhere: it came back older, say, and the events would take numbers that were others' before. Append returns the numbers
// of the events that are on disk.
func (b *Bus) Append(ctx context.Context, last uint64, events ...Event) ([]uint64, error) {
	return b.publish(ctx, events, jetstream.WithExpectLastSequence(last))
}

func (b *Bus) publish(ctx context.Context, events []Event, first ...jetstream.PublishOpt) ([]uint64, error) {
	acks, sendErr := b.send(events, first)
	seqs := make([]uint64, 0, len(acks))
	for i, ack := range acks {
		select {
		case a := <-ack.Ok():
			seq, err := b.stored(ctx, events[i], a)
			if err != nil {
				return seqs, err
			}
			seqs = append(seqs, seq)
		case err := <-ack.Err():
			b.forget()
			return seqs, fmt.Errorf("publish %s: %w", events[i].Subject, err)
		case <-ctx.Done():
			return seqs, ctx.Err()
		}
	}
	return seqs, sendErr
}

// stored returns the number of an event that JetStream acknowledged. JetStream drops an event that it has seen within the last
// minutes, even if it has lost the event since; such an event is published anew, under another id of the message.
func (b *Bus) stored(ctx context.Context, e Event, a *jetstream.PubAck) (uint64, error) {
	if !a.Duplicate {
		return a.Sequence, nil
	}
	id, err := b.IDAt(ctx, a.Stream, a.Sequence)
	if err != nil || id == e.ID {
		return a.Sequence, err
	}
	m := e.message()
	m.Header.Set(headerEvent, e.ID)
	m.Header.Set(headerID, rand.Text())
	a, err = b.js.PublishMsg(ctx, m, jetstream.WithRetryAttempts(0))
	if err != nil {
		return 0, fmt.Errorf("publish %s: %w", e.Subject, err)
	}
	return a.Sequence, nil
}

// send sends events and stops at the first error: an event must not overtake an earlier one that was lost with the connection.
// Each event but the first names its predecessor, so that JetStream refuses the event unless the predecessor arrived before it.
// A refused event is the first of the next call.
func (b *Bus) send(events []Event, first []jetstream.PublishOpt) ([]jetstream.PubAckFuture, error) {
	acks := make([]jetstream.PubAckFuture, 0, len(events))
	link := b.nc.Stats().Reconnects
	for i, e := range events {
		if b.nc.Stats().Reconnects != link {
			return acks, nats.ErrDisconnected
		}
		opts := []jetstream.PublishOpt{jetstream.WithRetryAttempts(0)}
		switch {
		case i == 0:
			opts = append(opts, first...)
		case streamOf(events[i-1]) == streamOf(e):
			opts = append(opts, jetstream.WithExpectLastMsgID(events[i-1].ID))
		}
		ack, err := b.js.PublishMsgAsync(e.message(), opts...)
		if err != nil {
			return acks, fmt.Errorf("publish %s: %w", e.Subject, err)
		}
		acks = append(acks, ack)
	}
	return acks, nil
}

// OutOfOrder reports whether err says that JetStream refused an event because another one than its predecessor was the last.
func OutOfOrder(err error) bool {
	e, ok := errors.AsType[*jetstream.APIError](err)
	return ok && (e.ErrorCode == wrongLastID || e.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence)
}

// wrongLastID is the code of JetStream that refuses a message whose predecessor is not the last one.
const wrongLastID = 10070
