package bus

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Publish sends events, each once JetStream has the one before it on disk, and returns how many of them, from the first, are on
// disk. The next one may have arrived or not; the caller must publish it again.
func (b *Bus) Publish(ctx context.Context, events ...Event) (int, error) {
	for i, e := range events {
		if err := b.EnsureStream(ctx, streamOf(e)); err != nil {
			return i, err
		}
		ack, err := b.js.PublishMsgAsync(e.message(), jetstream.WithRetryAttempts(0))
		if err != nil {
			return i, fmt.Errorf("publish %s: %w", e.Subject, err)
		}
		if _, _, err := b.acknowledged(ctx, e, ack); err != nil {
			return i, err
		}
	}
	return len(events), nil
}

// Append sends events of one stream whose last message has the number last, in order, and waits until JetStream has them on disk.
// JetStream refuses the events if the stream ends elsewhere: it came back older, say, and the events would take numbers that were
// others' before. Append returns the numbers of the events, from the first, that are on disk. The others may have arrived or not;
// the caller must append them again.
func (b *Bus) Append(ctx context.Context, last uint64, events ...Event) (seqs []uint64, err error) {
	for len(seqs) < len(events) {
		// One event goes ahead: behind one that was refused, a later event would fit where the stream ends in truth.
		seq, duplicate, err := b.pipeline(ctx, last, events[len(seqs):len(seqs)+1])
		if seqs = append(seqs, seq...); err != nil {
			return seqs, err
		}
		if last = max(last, seq[0]); duplicate {
			if seqs, err = b.follow(ctx, seqs, events); err != nil {
				return seqs, err
			}
			continue
		}
		rest, _, err := b.pipeline(ctx, last, events[len(seqs):])
		return append(seqs, rest...), err
	}
	return seqs, nil
}

// follow adds the numbers of those events that the stream holds right behind the one that was found last.
func (b *Bus) follow(ctx context.Context, seqs []uint64, events []Event) ([]uint64, error) {
	for _, e := range events[len(seqs):] {
		next := seqs[len(seqs)-1] + 1
		if id, err := b.IDAt(ctx, streamOf(e), next); err != nil || id != e.ID {
			return seqs, err
		}
		seqs = append(seqs, next)
	}
	return seqs, nil
}

// pipeline sends events without waiting for one before the next is sent, and returns the numbers of those, from the first, that are
// on disk, and whether JetStream had the last of these before.
func (b *Bus) pipeline(ctx context.Context, last uint64, events []Event) (seqs []uint64, duplicate bool, err error) {
	acks, sendErr := b.send(last, events)
	for i, ack := range acks {
		seq, again, err := b.acknowledged(ctx, events[i], ack)
		if err != nil {
			return seqs, duplicate, err
		}
		seqs, duplicate = append(seqs, seq), again
	}
	return seqs, duplicate, sendErr
}

// acknowledged waits for JetStream's answer to an event, and returns the event's number and whether JetStream had the event before.
func (b *Bus) acknowledged(ctx context.Context, e Event, ack jetstream.PubAckFuture) (seq uint64, duplicate bool, err error) {
	select {
	case a := <-ack.Ok():
		seq, err = b.stored(ctx, e, a)
		return seq, a.Duplicate, err
	case err := <-ack.Err():
		b.forget()
		return 0, false, fmt.Errorf("publish %s: %w", e.Subject, err)
	case <-ctx.Done():
		return 0, false, ctx.Err()
	}
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
// Each event names the number of the message before it, so that JetStream refuses the event unless its predecessor arrived. Naming the
// predecessor's id instead would break copies of the stream: a server that has caught up with the others does not know the last id,
// refuses the next event for itself alone, and gives its copy up (seen with nats-server 2.15.2).
// A refused event is the first of the next call.
func (b *Bus) send(last uint64, events []Event) ([]jetstream.PubAckFuture, error) {
	acks := make([]jetstream.PubAckFuture, 0, len(events))
	link := b.nc.Stats().Reconnects
	for _, e := range events {
		if b.nc.Stats().Reconnects != link {
			return acks, nats.ErrDisconnected
		}
		ack, err := b.js.PublishMsgAsync(e.message(), jetstream.WithRetryAttempts(0), jetstream.WithExpectLastSequence(last))
		if err != nil {
			return acks, fmt.Errorf("publish %s: %w", e.Subject, err)
		}
		acks = append(acks, ack)
		last++
	}
	return acks, nil
}

// OutOfOrder reports whether err says that JetStream refused an event because the stream ends elsewhere.
func OutOfOrder(err error) bool {
	e, ok := errors.AsType[*jetstream.APIError](err)
	return ok && (e.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence || e.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant)
}
