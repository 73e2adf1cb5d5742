package fence_test

import (
	"math"
	"testing"

	"slipway.dev/pkg/fence"
)

// TestTimelineComesFirst: a number of a later timeline is higher than every one of an earlier timeline.
func TestTimelineComesFirst(t *testing.T) {
	t.Parallel()
	if fence.Timeline(364) != 0 || fence.Timeline(fence.First(1)) != 1 || fence.Timeline(fence.First(7)+1<<40-1) != 7 {
		t.Error("the timeline of a number is not that of its database")
	}
	if fence.First(2)-1 <= fence.First(1)+1e12 || fence.First(1) <= 1e12 {
		t.Error("a database that was left behind gives higher numbers than the one that took over")
	}
	if last := fence.First(1<<23 - 1); last < 0 || last > math.MaxInt64-1<<40+1 {
		t.Errorf("timelines do not fit: %d", last)
	}
}
