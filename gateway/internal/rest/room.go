package rest

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"time"

	"golang.org/x/sync/semaphore"

	"slipway.dev/pkg/fault"

	"slipway.dev/gateway/internal/edge"
)

// Limits of all bodies that are decoded at the same time, in bytes.
const (
	smallBody = 16 << 10 // read before it takes room, so that a client that sends slowly holds none
	smallRoom = 4 << 20
	largeRoom = 16 << 20

	roomWait = 2 * time.Second
)

// errNoRoom refuses a body while other bodies take all room.
var errNoRoom = fault.Unavailable.With("too many large requests at once: repeat this one").After(time.Second)

// room limits the bytes of bodies that are decoded at the same time. Small bodies have their own room, so that large ones, whose
// clients may send slowly, never delay them.
type room struct{ small, large *semaphore.Weighted }

func newRoom() *room {
	return &room{semaphore.NewWeighted(smallRoom), semaphore.NewWeighted(largeRoom)}
}

// read returns the body of a request and a function that frees its room. most is the largest body of the route; there is no limit
// below 0. A large body takes its room before it is read.
func (m *room) read(r *http.Request, most int64) (data []byte, free func(), err error) {
	data, err = io.ReadAll(io.LimitReader(r.Body, smallBody))
	if err != nil {
		return nil, nil, unread(err)
	}
	if len(data) < smallBody {
		free, err = take(r.Context(), m.small, int64(len(data)))
		return data, free, err
	}
	n := largeRoom
	for _, bound := range []int64{most, r.ContentLength} {
		if bound >= 0 {
			n = min(n, int(bound))
		}
	}
	if free, err = take(r.Context(), m.large, int64(n)); err != nil {
		return nil, nil, err
	}
	whole := bytes.NewBuffer(make([]byte, 0, max(n, smallBody)+bytes.MinRead))
	whole.Write(data)
	if _, err := whole.ReadFrom(r.Body); err != nil {
		free()
		return nil, nil, unread(err)
	}
	return whole.Bytes(), free, nil
}

// take takes room for n bytes and returns the function that frees them. It waits up to roomWait for room.
func take(ctx context.Context, s *semaphore.Weighted, n int64) (free func(), err error) {
	if !s.TryAcquire(n) {
		ctx, cancel := context.WithTimeout(ctx, roomWait)
		defer cancel()
		if err := s.Acquire(ctx, n); err != nil {
			return nil, errNoRoom.Wrap(err)
		}
	}
	return func() { s.Release(n) }, nil
}

// unread returns the fault of a body that could not be read.
func unread(err error) error {
	if f, ok := edge.TooLarge(err); ok {
		return f
	}
	return fault.Invalid.With("the body ended early")
}
