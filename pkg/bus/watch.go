package bus

import (
	"context"
	"time"

	"github.com/nats-io/nats.go"
)

// watchBuffer is how many events may wait for fn before some are dropped, which counts as a gap.
const watchBuffer = 4096

// Watch calls fn for every new event on the subjects ("auth.v4.session.*", "ip.>") until ctx ends. It is for caches: events
// are not stored for a watcher that is disconnected. Watch calls onGap whenever events may have been missed, first at the
// start; the caller must then drop its cache. Both functions are called from this goroutine, one at a time.
func (b *Bus) Watch(ctx context.Context, subjects []string, fn func(Event), onGap func()) error {
	msgs := make(chan *nats.Msg, watchBuffer)
	gaps, end := b.Gaps()
	defer end()
	for _, s := range subjects {
		sub, err := b.nc.ChanSubscribe(s, msgs)
		if err != nil {
			return err
		}
		defer func() { _ = sub.Unsubscribe() }() // fails only on a connection that is closed
	}
	if b.sync(ctx) {
		onGap()
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case m := <-msgs:
			fn(event(m.Subject, m.Header, m.Data))
		case <-gaps:
			b.sync(ctx)
			onGap()
		}
	}
}

// sync waits until the server has the subscriptions, so that no later event is missed. It gives up if the server is
// unreachable: the next connection signals a gap.
func (b *Bus) sync(ctx context.Context) bool {
	if !b.nc.IsConnected() {
		return false
	}
	ctx, stop := context.WithTimeout(ctx, 5*time.Second)
	defer stop()
	return b.nc.FlushWithContext(ctx) == nil
}
