package bus_test

import (
	"fmt"
	"testing"

	"slipway.dev/pkg/bus"
	"slipway.dev/pkg/bus/bustest"
)

// TestOldIDsAreRemoved: a consumer removes the ids of its own events after thirty days, and leaves those of others alone.
func TestOldIDsAreRemoved(t *testing.T) {
	t.Parallel()
	s := newSink(t)
	if _, err := s.pool.Exec(t.Context(), `
		INSERT INTO inbox (consumer, event_id, seen_at) SELECT c, gen_random_uuid(), now() - d * interval '1 day'
		FROM unnest(ARRAY['sink', 'other']) c, unnest(ARRAY[29, 31]) d`); err != nil {
		t.Fatal(err)
	}
	s.start(t, bustest.New(t))
	eventually(t, func() string {
		var left string
		err := s.pool.QueryRow(t.Context(), `
			SELECT string_agg(consumer || extract(day FROM now() - seen_at), ' ' ORDER BY consumer, seen_at) FROM inbox`).Scan(&left)
		if err != nil || left != "other31 other29 sink29" {
			return fmt.Sprint(left, " ", err)
		}
		return ""
	})
}

// TestConnected: a bus says whether a server answers now.
func TestConnected(t *testing.T) {
	t.Parallel()
	b := bustest.New(t)
	if !b.Connected() {
		t.Error("a server answers")
	}
	b.Close()
	if b.Connected() {
		t.Error("it is closed")
	}
	away, err := bus.Offline(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer away.Close()
	if away.Connected() {
		t.Error("it never connects")
	}
}
