package service

import (
	"context"
	"time"
)

// keepAgain is the time until a timeline that could not be kept is kept again.
const keepAgain = 5 * time.Second

// recall learns the timeline that the bus has kept, so that a service which starts while a former primary takes writes does
// not believe that server. While the bus is away the service starts without.
func recall(ctx context.Context, name string, d Deps) {
	timeline, err := d.Bus.Timeline(ctx, name)
	if err != nil {
		d.Log.Warn("the bus is away, a former primary of the database would be believed", "err", err)
		return
	}
	d.Guard.Learn(timeline)
}

// keepTimeline keeps the highest timeline that was seen with the service's stream, until ctx ends.
func (s *Service) keepTimeline(ctx context.Context) error {
	rose := make(chan struct{}, 1)
	s.kit.Guard.OnRise(func() {
		select {
		case rose <- struct{}{}:
		default: // one is waiting already
		}
	})
	for kept := int64(0); ; {
		var again <-chan time.Time
		if seen := s.kit.Guard.Seen(); seen > kept {
			if s.kit.Bus.KeepTimeline(ctx, s.spec.Name, seen) == nil {
				kept = seen
			} else {
				again = time.After(keepAgain) // the relay says why the bus does not work
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-rose:
		case <-again:
		}
	}
}
