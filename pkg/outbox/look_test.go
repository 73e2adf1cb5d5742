package outbox

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"

	"slipway.dev/pkg/bus"
	"slipway.dev/pkg/bus/bustest"
	"slipway.dev/pkg/pg/pgtest"
)

// atPlaces returns the events 1 to n of an outbox at these places of the stream of vm.
func atPlaces(places ...int) (list []stored) {
	for _, seq := range places {
		list = append(list, stored{"vm", seq, time.Hour})
	}
	return list
}

// TestFork finds the first place at which outbox and stream have different events. The stream has the events 1 to 8, in order.
func TestFork(t *testing.T) {
	t.Parallel()
	b := bustest.New(t)
	for i := range 8 {
		bustest.Publish(t, b, bus.Event{ID: uuid.NewSHA1(uuid.Nil, fmt.Append(nil, i+1)).String(), Subject: "vm.v3.a.b"})
	}
	for name, tt := range map[string]struct {
		outbox []stored
		first  uint64
		want   uint64
	}{
		"all are the same":       {atPlaces(1, 2, 3, 4, 5, 6, 7, 8), 1, 9},
		"others from the sixth":  {atPlaces(1, 2, 3, 4, 5, 7, 8, 6), 1, 6},
		"others from the second": {atPlaces(1, 3, 4, 5, 6, 7, 8, 2), 1, 2},
		"the last is another":    {append(atPlaces(1, 2, 3, 4, 5, 6, 7), stored{"ip", 8, 1}, stored{"vm", 8, 1}), 1, 8},
		"all are others":         {atPlaces(2, 3, 4, 5, 6, 7, 8, 1), 1, 1},
		"few are known":          {atPlaces(9, 2, 10, 11, 12, 13, 6), 1, 6},
		"none is known":          {nil, 1, 9},
		"those beyond the end":   {atPlaces(9, 10), 1, 9},
		"those before the start": {atPlaces(2, 3, 1, 4, 5, 6, 7, 8), 4, 9},
		"places of other events": {[]stored{{"ip", 3, 1}, {"ip", 8, 1}}, 1, 9},
	} {
		t.Run(name, func(t *testing.T) {
			pool := pgtest.New(t, Migrations)
			store(t, pool, tt.outbox...)
			asLeader(t, pool, b, func(ctx context.Context, x *term) {
				if other, err := x.fork(ctx, "vm", bus.State{First: tt.first, Last: 8}); err != nil || other != tt.want {
					t.Errorf("they differ from %d on, %v; want %d", other, err, tt.want)
				}
			})
		})
	}
}
