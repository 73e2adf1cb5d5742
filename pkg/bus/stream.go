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
)

// State is what a stream holds at one moment.
type State struct {
	Created     time.Time // as exact as PostgreSQL keeps it
	First, Last uint64    // numbers of the first and last message; First is Last+1 in an empty stream
	Gone        []uint64  // numbers between them whose messages are gone
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
	s, err := b.stream(ctx, service)
	if err != nil {
		return "", err
	}
	ctx, stop := context.WithTimeout(ctx, askTime)
	defer stop()
	m, err := s.GetMsg(ctx, seq)
	switch {
	case errors.Is(err, jetstream.ErrMsgNotFound):
		return "", nil
	case err != nil:
		return "", fmt.Errorf("stream %s at %d: %w", service, seq, err)
	}
	return eventID(m.Header), nil
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
	}, nil
}

// stream returns the stream of a service, and makes or updates it.
func (b *Bus) stream(ctx context.Context, service string) (jetstream.Stream, error) {
	ctx, stop := context.WithTimeout(ctx, askTime)
	defer stop()
	want := b.config(service)
	s, err := b.js.Stream(ctx, service)
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		s, err = b.js.CreateStream(ctx, want)
	case err == nil && !same(want, s.CachedInfo().Config):
		s, err = b.js.UpdateStream(ctx, want)
	}
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w", service, err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.streams[service] = true
	return s, nil
}

func (b *Bus) config(service string) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:       service,
		Subjects:   []string{service + ".>"},
		Storage:    jetstream.FileStorage,
		Retention:  jetstream.LimitsPolicy,
		Discard:    jetstream.DiscardOld,
		MaxAge:     StreamAge,
		Duplicates: dedupeWindow,
		Replicas:   b.replicas,
	}
}

// same reports whether a stream has the settings that this package chooses. NATS adds others.
func same(want, have jetstream.StreamConfig) bool {
	return slices.Equal(want.Subjects, have.Subjects) && want.Retention == have.Retention && want.Discard == have.Discard &&
		want.MaxAge == have.MaxAge && want.Duplicates == have.Duplicates && want.Replicas == have.Replicas
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
