package watch

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"slipway.dev/pkg/bus"
)

// deaf is a bus that is there and does not answer.
type deaf struct{}

func (deaf) Connected() bool { return true }
func (deaf) Last(context.Context, string, string) (bus.Event, bool, error) {
	return bus.Event{}, false, errors.New("no answer")
}

// TestDeafBus: creates wait for a bus that does not answer, and for no longer than they wait for a node.
func TestDeafBus(t *testing.T) {
	t.Parallel()
	h := Histories{Bus: deaf{}, since: time.Now()}
	if _, err := h.lastSent(t.Context()); err == nil {
		t.Error("the bus is not waited for")
	}
	h.since = time.Now().Add(-patience)
	if id, err := h.lastSent(t.Context()); err != nil || id != 0 {
		t.Errorf("after a long time: %d, %v", id, err)
	}
}

// TestSilenceIsLoggedOnce: a node that goes on being silent is one line in the log, and so is its return.
func TestSilenceIsLoggedOnce(t *testing.T) {
	t.Parallel()
	var log strings.Builder
	p := patrol{Watcher: &Watcher{log: slog.New(slog.NewTextHandler(&log, nil))}}
	for _, silence := range []error{nil, io.EOF, io.EOF, nil, nil, io.EOF} {
		p.count(silence)
	}
	if n, m := strings.Count(log.String(), "level=WARN"), strings.Count(log.String(), "level=INFO"); n != 2 || m != 1 {
		t.Errorf("%s", log.String())
	}
}
