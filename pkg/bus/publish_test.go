package bus_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"slipway.dev/pkg/bus"
	"slipway.dev/pkg/bus/bustest"
)

// TestAppendInOrder: JetStream takes events only at the end that the caller knows, and each only behind its predecessor. A refusal for
// one of these reasons is distinguished from any other. Events that the stream has already are found there.
func TestAppendInOrder(t *testing.T) {
	t.Parallel()
	b := bustest.New(t)
	bustest.Publish(t, b, ev(1))
	if seqs, err := b.Append(t.Context(), 0, ev(0), ev(2)); len(seqs) > 0 || !bus.OutOfOrder(err) {
		t.Errorf("at another end: %v %v", seqs, err)
	}
	// JetStream has the second already, so that it is not the one before the third.
	if seqs, err := b.Append(t.Context(), 1, ev(0), ev(1), ev(2)); !slices.Equal(seqs, []uint64{2, 1}) || !bus.OutOfOrder(err) {
		t.Errorf("behind another one: %v %v", seqs, err)
	}
	if seqs, err := b.Append(t.Context(), 2, ev(2), ev(3)); !slices.Equal(seqs, []uint64{3, 4}) || err != nil {
		t.Errorf("in order: %v %v", seqs, err)
	}
	if seqs, err := b.Append(t.Context(), 4, ev(1), ev(0), ev(2), ev(3), ev(4)); !slices.Equal(seqs, []uint64{1, 2, 3, 4, 5}) || err != nil {
		t.Errorf("what is there: %v %v", seqs, err)
	}
	if seqs, err := b.Append(t.Context(), 5, ev(0), ev(1)); !slices.Equal(seqs, []uint64{2, 1}) || err != nil {
		t.Errorf("what is there in another order: %v %v", seqs, err)
	}
	for _, err := range []error{nil, errors.New("other"), fmt.Errorf("full: %w", &jetstream.APIError{ErrorCode: 10047})} {
		if bus.OutOfOrder(err) {
			t.Errorf("%v is out of order", err)
		}
	}
}

// TestAppendNamesPlaces: each event names the place of its predecessor, and none the id: a server that has caught up with the others
// does not know that, and would give up its copy of the stream.
func TestAppendNamesPlaces(t *testing.T) {
	t.Parallel()
	srv := bustest.NewServer(t)
	b := connect(t, srv)
	publish(t, b, 0, 2)
	sent, flush := tap(t, srv, "vm.>")
	if _, err := b.Append(t.Context(), 2, ev(2), ev(3), ev(4)); err != nil {
		t.Fatal(err)
	}
	flush()
	for place := range 3 {
		h := next(t, sent).Header
		if got := h.Get(jetstream.ExpectedLastSeqHeader); got != fmt.Sprint(2+place) || h.Get(jetstream.ExpectedLastMsgIDHeader) != "" {
			t.Errorf("%v", h)
		}
	}
}

// TestPublishAfterAGap: after a connection was lost no stream is taken for granted: one that is gone is made, and the first event is
// taken.
func TestPublishAfterAGap(t *testing.T) {
	t.Parallel()
	srv := bustest.NewServer(t)
	b := connect(t, srv)
	bustest.Publish(t, b, ev(0))
	gaps, end := b.Gaps()
	defer end()
	srv.Stop()
	srv.Wipe(t)
	srv.Start(t)
	next(t, gaps)
	if n, err := b.Publish(t.Context(), ev(1)); n != 1 || err != nil {
		t.Errorf("%d are published, %v", n, err)
	}
}
