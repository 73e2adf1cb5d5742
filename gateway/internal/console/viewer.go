package console

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/identity"

	"slipway.dev/gateway/internal/edge"
)

var (
	errIdle    = errors.New("nothing was typed for long")
	errClosing = errors.New("the gateway stops")
)

// viewer is one WebSocket.
type viewer struct {
	*Handler
	c       *websocket.Conn
	q       *edge.Request
	closing <-chan struct{} // when the gateway stops

	typed atomic.Int64 // when something was typed last
}

// run carries bytes until one side or the viewer's right ends, and returns how the WebSocket is to be closed. Nothing goes to or
// comes from the console any more by then.
func (v *viewer) run(ctx context.Context, ticket string) (websocket.StatusCode, string) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	v.typed.Store(time.Now().UnixNano())
	late := time.AfterFunc(v.times.Open, cancel)
	s, err := v.screens.OpenConsole(ctx)
	if err == nil {
		_ = s.Send(&vmpb.OpenConsoleRequest{Ticket: ticket}) // Recv has its error
	}
	var first *vmpb.OpenConsoleResponse
	if err == nil {
		first, err = s.Recv()
	}
	if err != nil || !late.Stop() {
		return ending(err)
	}
	ended := make(chan error, 4)
	go func() { ended <- v.down(s, first.GetData()) }()
	go func() { ended <- v.up(s) }()
	go func() { ended <- v.ping(ctx) }()
	go func() { ended <- v.watch(ctx, first.GetId()) }()
	select {
	case err = <-ended:
	case <-v.closing:
		err = errClosing
	}
	switch {
	case errors.Is(err, errIdle):
		return CodeIdle, err.Error()
	case errors.Is(err, errClosing):
		return websocket.StatusGoingAway, err.Error()
	}
	return ending(err)
}

// down carries what the console says.
func (v *viewer) down(s vmpb.ConsoleService_OpenConsoleClient, data []byte) error {
	for {
		if len(data) > 0 {
			if err := v.write(data); err != nil {
				return err
			}
		}
		m, err := s.Recv()
		if err != nil {
			return err
		}
		data = m.GetData()
	}
}

// write gives the viewer a message. One that takes none for long is let go.
func (v *viewer) write(data []byte) error {
	ctx, cancel := context.WithTimeout(context.Background(), v.times.Write)
	defer cancel()
	return v.c.Write(ctx, websocket.MessageBinary, data)
}

// up carries what is typed. Terminals such as xterm.js send it as text; its bytes are typed like those of binary messages.
func (v *viewer) up(s vmpb.ConsoleService_OpenConsoleClient) error {
	for {
		_, data, err := v.c.Read(context.Background()) // the end of a context would cut the connection without a code
		if err != nil {
			return websocket.CloseError{Code: websocket.StatusNormalClosure} // whatever it is, the viewer has left
		}
		v.typed.Store(time.Now().UnixNano())
		for len(data) > 0 {
			n := min(len(data), maxChunk)
			if err := s.Send(&vmpb.OpenConsoleRequest{Data: data[:n]}); err != nil {
				<-s.Context().Done() // down hears why
				return s.Context().Err()
			}
			data = data[n:]
		}
	}
}

// ping keeps the connection alive, and notices a viewer that is gone.
func (v *viewer) ping(ctx context.Context) error {
	tick := time.NewTicker(v.times.Ping)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		answer, cancel := context.WithTimeout(ctx, v.times.Ping)
		err := v.c.Ping(answer)
		cancel()
		if err != nil {
			return websocket.CloseError{Code: websocket.StatusNormalClosure}
		}
	}
}

// watch returns when the viewer may not have the console any more, or when that cannot be seen, and when nothing is typed for
// long. It asks auth each time, for an answer that is not older than that.
func (v *viewer) watch(ctx context.Context, host int32) error {
	tick := time.NewTicker(v.times.Check)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		if time.Since(time.Unix(0, v.typed.Load())) > v.times.Idle {
			return errIdle
		}
		if err := v.check(ctx, host); err != nil {
			return err
		}
	}
}

func (v *viewer) check(ctx context.Context, host int32) error {
	ctx, cancel := context.WithTimeout(ctx, v.times.Check)
	defer cancel()
	if v.q.Renew == nil {
		return identity.ErrInvalid
	}
	fresh, err := v.q.Renew(ctx, v.q.Session.Identity("vm"))
	if err != nil {
		return err
	}
	v.q.Session = fresh
	_, err = v.screens.CheckConsole(ctx, &vmpb.CheckConsoleRequest{Id: host})
	if ctx.Err() != nil {
		return fault.Unavailable.Wrap(err)
	}
	return err
}
