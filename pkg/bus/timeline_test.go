package bus_test

import (
	"testing"

	"slipway.dev/pkg/bus"
	"slipway.dev/pkg/bus/bustest"
)

// TestTimelineIsKept: the highest timeline of a service is kept with its stream, also when the stream gets other settings.
func TestTimelineIsKept(t *testing.T) {
	t.Parallel()
	b := bustest.New(t)
	kept := func(want int64) {
		t.Helper()
		if got, err := b.Timeline(t.Context(), "vm"); err != nil || got != want {
			t.Errorf("the timeline %d, %v: want %d", got, err, want)
		}
	}
	kept(0)
	for _, tt := range []struct{ keep, want int64 }{{3, 3}, {2, 3}, {3, 3}, {1 << 40, 1 << 40}} {
		if err := b.KeepTimeline(t.Context(), "vm", tt.keep); err != nil {
			t.Fatal(err)
		}
		kept(tt.want)
	}
	if got, err := b.Timeline(t.Context(), "ip"); err != nil || got != 0 {
		t.Errorf("the timeline of another service: %d, %v", got, err)
	}
	bus.Resize(b, 64<<20)
	if _, err := b.Look(t.Context(), "vm"); err != nil {
		t.Fatal(err)
	}
	kept(1 << 40)
}
