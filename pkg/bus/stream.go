package bus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	// StreamAge is how long a stream keeps an event. The outbox keeps an event for longer, so that it can be sent again for as
	// long as a stream would hold it.
	StreamAge    = 14 * 24 * time.Hour
	dedupeWindow = 10 * time.Minute
	askTime      = 5 * time.Second        // for an answer of JetStream
	patience     = 500 * time.Millisecond // after which a question is asked again
	mostBytes    = 1 << 30
	leastBytes   = 16 << 20 // of a stream for which there is no more room
	unbounded    = -1
)

// State is what a stream holds at one moment.
type State struct {
	Created     time.Time // as exact as PostgreSQL keeps it
	First, Last uint64    // numbers of the first and last message; First is Last+1 in an empty stream
	Gone        []uint64  // numbers between them whose messages are gone
	// Bytes are how large the stream is, and MaxBytes how large it may become.
	Bytes, MaxBytes uint64
}

// EnsureStream makes the stream of a service, which holds everything under "<service>.".
func (b *Bus) EnsureStream(ctx context.Context, service string) error {
	b.mu.Lock()
	known := b.streams[service]
	b.mu.Unlock()
	if known {
		return nil
	}
	_, err := b.stream(ctx, service)
	return err
}

// Look returns the state of the stream of a service. It makes a missing stream, and gives an old one the settings of this Bus.
// If Created differs from an earlier call, the stream was replaced, and the events of the old one are lost.
func (b *Bus) Look(ctx context.Context, service string) (State, error) {
	s, err := b.stream(ctx, service)
	if err != nil {
		return State{}, err
	}
	ctx, stop := context.WithTimeout(ctx, askTime)
	defer stop()
	return state(ctx, s)
}

// IDAt returns the id of the event with this number in the stream of a service. It returns "" if there is no event.
func (b *Bus) IDAt(ctx context.Context, service string, seq uint64) (string, error) {
	s, err := b.lookup(ctx, service)
	if err != nil {
		return "", err
	}
	ctx, stop := context.WithTimeout(ctx, askTime)
	defer stop()
	m, err := b.message(ctx, s, seq)
	switch {
	case errors.Is(err, jetstream.ErrMsgNotFound):
		return "", nil
	case err != nil:
		return "", fmt.Errorf("stream %s at %d: %w", service, seq, err)
	}
	return eventID(m.Header), nil
}

// Last returns the last event of a service on a subject that the bus holds; ok is false when there is none.
func (b *Bus) Last(ctx context.Context, service, subject string) (e Event, ok bool, err error) {
	s, err := b.lookup(ctx, service)
	if err != nil {
		return e, false, err
	}
	ctx, stop := context.WithTimeout(ctx, askTime)
	defer stop()
	m, err := repeat(ctx, b.patience, func(ctx context.Context) (*jetstream.RawStreamMsg, error) {
		return s.GetLastMsgForSubject(ctx, subject)
	})
	switch {
	case errors.Is(err, jetstream.ErrMsgNotFound):
		return e, false, nil
	case err != nil:
		return e, false, fmt.Errorf("last %s: %w", subject, err)
	}
	return event(m.Subject, m.Header, m.Data), true, nil
}

// lookup returns the stream of a service, to read messages from. The stream was asked for once: it is read by its name.
func (b *Bus) lookup(ctx context.Context, service string) (jetstream.Stream, error) {
	b.mu.Lock()
	s := b.lookups[service]
	b.mu.Unlock()
	if s != nil {
		return s, nil
	}
	s, err := b.stream(ctx, service)
	if err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lookups[service] = s
	return s, nil
}

func state(ctx context.Context, s jetstream.Stream) (State, error) {
	info, err := s.Info(ctx)
	if err == nil && info.State.NumDeleted > 0 {
		info, err = s.Info(ctx, jetstream.WithDeletedDetails(true))
	}
	if err != nil {
		return State{}, fmt.Errorf("look at a stream: %w", err)
	}
	return State{
		Created: info.Created.Truncate(time.Microsecond), First: info.State.FirstSeq, Last: info.State.LastSeq, Gone: info.State.Deleted,
		Bytes: info.State.Bytes, MaxBytes: uint64(max(info.Config.MaxBytes, 0)), // #nosec G115 -- not below zero
	}, nil
}

// Purge removes the messages of the stream of a service that come before a number.
func (b *Bus) Purge(ctx context.Context, service string, before uint64) error {
	ctx, stop := context.WithTimeout(ctx, askTime)
	defer stop()
	s, err := b.js.Stream(ctx, service)
	if err == nil {
		err = s.Purge(ctx, jetstream.WithPurgeSequence(before))
	}
	if err != nil {
		return fmt.Errorf("purge stream %s: %w", service, err)
	}
	return nil
}

// stream returns the stream of a service, and makes or updates it.
func (b *Bus) stream(ctx context.Context, service string) (jetstream.Stream, error) {
	ctx, stop := context.WithTimeout(ctx, askTime)
	defer stop()
	s, err := repeat(ctx, b.patience, func(ctx context.Context) (jetstream.Stream, error) { return b.js.Stream(ctx, service) })
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		s, err = b.fit(func(want jetstream.StreamConfig) (jetstream.Stream, error) {
			return b.js.CreateStream(ctx, want)
		}, service)
	case err == nil && !b.settled(service, s):
		s, err = b.fit(func(want jetstream.StreamConfig) (jetstream.Stream, error) {
			if same(want, s.CachedInfo().Config) {
				return s, nil
			}
			want.Metadata = s.CachedInfo().Config.Metadata
			return b.js.UpdateStream(ctx, want)
		}, service)
		if is(err, noRoom, insufficient, noPeers, notClustered) && b.replicas == 0 {
			s, err = b.js.Stream(ctx, service) // it works as it is
		}
	}
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w", service, err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.streams[service] = true
	return s, nil
}

// fit calls do with the settings of a stream. When there are too few servers or too little room for them, it calls do again with
// less.
func (b *Bus) fit(do func(jetstream.StreamConfig) (jetstream.Stream, error), service string) (s jetstream.Stream, err error) {
	for _, n := range b.copies() {
		for size := b.most; ; size /= 2 {
			if size < leastBytes && b.most >= leastBytes {
				size = unbounded // needs no promise
			}
			s, err = do(b.config(service, n, size))
			if size < leastBytes || !is(err, noRoom, insufficient) {
				break
			}
		}
		if !is(err, noPeers, insufficient, notClustered) {
			return s, err
		}
	}
	return s, err
}

// settled reports whether a stream has the settings of this Bus, or was looked at on this connection, when there was no room for
// them.
func (b *Bus) settled(service string, s jetstream.Stream) bool {
	if same(b.config(service, b.copies()[0], b.most), s.CachedInfo().Config) {
		return true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.streams[service] && len(b.copies()) == 1
}

// copies returns how many servers may keep a stream, what is best first.
func (b *Bus) copies() []int {
	switch {
	case b.replicas > 0:
		return []int{b.replicas}
	case b.nc.ConnectedClusterName() == "":
		return []int{1}
	default:
		return []int{3, 1}
	}
}

// is reports whether err is one of these of JetStream.
func is(err error, codes ...jetstream.ErrorCode) bool {
	e, ok := errors.AsType[*jetstream.APIError](err)
	return ok && slices.Contains(codes, e.ErrorCode)
}

// Codes of JetStream.
const (
	noPeers      = 10005 // no suitable peers for placement
	insufficient = 10023 // insufficient resources
	noRoom       = 10047 // insufficient storage resources available
	notClustered = 10074 // replicas > 1 not supported in non-clustered mode
)

func (b *Bus) config(service string, replicas int, size int64) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:       service,
		Subjects:   []string{service + ".>"},
		Storage:    jetstream.FileStorage,
		Retention:  jetstream.LimitsPolicy,
		Discard:    jetstream.DiscardNew,
		MaxBytes:   size,
		MaxAge:     StreamAge,
		Duplicates: dedupeWindow,
		Replicas:   replicas,
	}
}

// same reports whether a stream has the settings that this package chooses. NATS adds others.
func same(want, have jetstream.StreamConfig) bool {
	return slices.Equal(want.Subjects, have.Subjects) && want.Retention == have.Retention && want.Discard == have.Discard &&
		want.MaxAge == have.MaxAge && want.MaxBytes == have.MaxBytes && want.Duplicates == have.Duplicates && want.Replicas == have.Replicas
}

// streamOf returns the name of the stream that holds e, which is the name of the service that emitted e.
func streamOf(e Event) string {
	service, _, _ := strings.Cut(e.Subject, ".")
	return service
}

// forget makes the next Publish check its streams again, because one of them may have been deleted.
func (b *Bus) forget() {
	b.mu.Lock()
	defer b.mu.Unlock()
	clear(b.streams)
}
